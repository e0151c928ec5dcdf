-- Sides of changes that stand on no finalised invoice, and whether the one that should carry them exists. A line
-- a change when item, sign and instant agree to within an hour, or when price and quantity agree and someone
-- chose another instant; each line carries one change.
with lines as (
    select
        item_period_id,
        direction_sign,
        line_start,
        min(price_id) as price_id,
        sum(quantity) as quantity
    from {{ ref('int_billed__prorations') }}
    group by item_period_id, direction_sign, line_start
),

candidates as (
    select
        changes.charge_id,
        changes.item_period_id,
        changes.direction_sign,
        lines.line_start,
        abs(extract(epoch from lines.line_start - changes.changed_at)) as seconds_apart
    from {{ ref('int_terms__licence_changes') }} as changes
    inner join lines
        on changes.item_period_id = lines.item_period_id and changes.direction_sign = lines.direction_sign
    where
        abs(extract(epoch from lines.line_start - changes.changed_at)) <= 3600
        or (changes.price_id = lines.price_id and changes.quantity = lines.quantity)
),

ranked as (
    select
        *,
        row_number() over (partition by charge_id order by seconds_apart, line_start) as line_choice,
        row_number() over (
            partition by item_period_id, direction_sign, line_start order by seconds_apart, charge_id
        ) as change_choice
    from candidates
),

-- The newest finalised invoice of a subscription: prorations wait for the next one.
last_invoices as (
    select
        subscription_id,
        max(invoice_created_at) as invoiced_at
    from {{ ref('int_billed__lines') }}
    group by subscription_id
),

-- Pairs that wait for an invoice, as pending invoice items or on a draft.
waiting as (
    select
        invoice_items.subscription_id,
        invoice_items.subscription_item_id,
        invoice_items.period_start as line_start,
        case when invoice_items.amount < 0 then -1 else 1 end as direction_sign
    from {{ ref('stg_stripe__invoice_items') }} as invoice_items
    left join {{ ref('stg_stripe__invoices') }} as invoices on invoice_items.invoice_id = invoices.invoice_id
    where invoice_items.is_proration and (invoice_items.invoice_id is null or invoices.status = 'draft')
),

held_back as (
    select distinct changes.charge_id
    from {{ ref('int_terms__licence_changes') }} as changes
    inner join waiting
        on
            changes.subscription_id = waiting.subscription_id
            and changes.subscription_item_id = coalesce(waiting.subscription_item_id, changes.subscription_item_id)
            and changes.direction_sign = waiting.direction_sign
            and abs(extract(epoch from waiting.line_start - changes.changed_at)) <= 3600
)

select
    changes.*,
    jsonb_build_object(
        'changed_at', changes.changed_at,
        'known_from', changes.source,
        'old_price_id', changes.old_price_id,
        'old_quantity', changes.old_quantity,
        'new_price_id', changes.new_price_id,
        'new_quantity', changes.new_quantity,
        'seconds_left', changes.share_seconds,
        'seconds_of_interval', changes.full_seconds
    ) as evidence,
    -- Nothing is owed while the invoice that will carry the change is still to come.
    case
        when
            changes.phase = 'closed'
            and (
                (last_invoices.invoiced_at >= changes.period_end and held_back.charge_id is null)
                -- After the end of the subscription no invoice follows.
                or changes.ended_at + make_interval(days => settings.invoice_grace_days) <= settings.as_of
            )
            then changes.share_seconds
        else 0
    end as due_seconds
from {{ ref('int_terms__licence_changes') }} as changes
cross join {{ ref('stg_business__audit_settings') }} as settings
left join ranked
    on changes.charge_id = ranked.charge_id and ranked.line_choice = 1 and ranked.change_choice = 1
left join held_back on changes.charge_id = held_back.charge_id
left join last_invoices on changes.subscription_id = last_invoices.subscription_id
where ranked.charge_id is null
