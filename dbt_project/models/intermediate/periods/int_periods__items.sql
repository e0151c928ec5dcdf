-- Every subscription item the account has or had: the items Stripe shows now, and those that only an old
-- invoice line or a pending item still names (Stripe forgets a removed item).
with stated as (
    select
        lines.subscription_item_id,
        coalesce(lines.subscription_id, invoices.subscription_id) as subscription_id,
        lines.line_id,
        lines.price_id,
        lines.quantity,
        lines.amount,
        lines.period_start,
        lines.period_end
    from {{ ref('stg_stripe__invoice_lines') }} as lines
    inner join {{ ref('stg_stripe__invoices') }} as invoices on lines.invoice_id = invoices.invoice_id
    union all
    -- What waits for its invoice: usage of a metered item that was removed or got another price.
    select
        subscription_item_id,
        subscription_id,
        invoice_item_id as line_id,
        price_id,
        quantity,
        amount,
        period_start,
        period_end
    from {{ ref('stg_stripe__invoice_items') }}
    where invoice_id is null and not is_proration
),

line_items as (
    select
        subscription_item_id,
        max(subscription_id) as subscription_id,
        (array_agg(price_id order by period_start desc, line_id) filter (where price_id is not null))[1] as price_id,
        (
            array_agg(quantity order by period_start desc, line_id)
            filter (where price_id is not null and amount >= 0)
        )[1
        ] as quantity,
        min(period_start) as first_seen_at,
        max(period_end) as last_seen_at
    from stated
    where subscription_item_id is not null
    group by subscription_item_id
),

items as (
    select
        coalesce(items.subscription_item_id, line_items.subscription_item_id) as subscription_item_id,
        coalesce(items.subscription_id, line_items.subscription_id) as subscription_id,
        coalesce(items.price_id, line_items.price_id) as price_id,
        coalesce(items.quantity, line_items.quantity) as quantity,
        items.current_period_start,
        items.current_period_end,
        items.created_at as item_created_at,
        line_items.first_seen_at,
        line_items.last_seen_at,
        items.subscription_item_id is null as is_removed
    from {{ ref('stg_stripe__subscription_items') }} as items
    full outer join line_items on items.subscription_item_id = line_items.subscription_item_id
),

-- An item that came after its subscription; it may have come back after a removal.
additions as (
    select
        subscription_item_id,
        min(changed_at) as added_at
    from {{ ref('int_history__item_changes') }}
    where old_quantity = 0
    group by subscription_item_id
)

select
    items.subscription_item_id,
    items.subscription_id,
    subscriptions.customer_id,
    subscriptions.status,
    subscriptions.currency,
    coalesce(currencies.exponent, 2) as currency_exponent,
    coalesce(currencies.rounding_unit, 1)::numeric as rounding_unit,
    items.price_id,
    coalesce(items.quantity, 1)::numeric as quantity,
    prices.usage_type,
    prices.billing_interval,
    prices.interval_count,
    prices.meter_id,
    -- A metered price whose meter Stripe does not show keeps a name of its own, so that its lines stay in the bridge.
    case
        when prices.usage_type = 'metered' then coalesce(meters.event_name, prices.meter_id, prices.price_id)
    end as stripe_event_name,
    meters.formula,
    items.current_period_start,
    items.current_period_end,
    items.is_removed,
    additions.added_at,
    subscriptions.billing_mode,
    -- An item created with its subscription is billed from the subscription's (perhaps backdated) start.
    least(
        items.first_seen_at,
        case
            when items.is_removed then items.first_seen_at
            when items.item_created_at <= subscriptions.created_at + interval '1 minute' then subscriptions.started_at
            else items.item_created_at
        end
    ) as billed_from,
    case
        when items.is_removed then items.last_seen_at
        when subscriptions.status = 'paused' then items.current_period_end
        when subscriptions.ended_at <= settings.as_of then subscriptions.ended_at
    end as billed_until,
    -- Auditing a past instant: what ended later had not ended then.
    case when subscriptions.ended_at <= settings.as_of then subscriptions.ended_at end as ended_at,
    subscriptions.billing_cycle_anchor,
    subscriptions.trial_started_at,
    subscriptions.trial_ended_at,
    -- Classic mode bills the time before a backdated subscription was made by one line.
    case
        when
            coalesce(subscriptions.billing_mode, 'classic') = 'classic'
            and subscriptions.started_at < subscriptions.created_at - interval '1 minute'
            then subscriptions.started_at
    end as elapsed_from
from items
cross join {{ ref('stg_business__audit_settings') }} as settings
inner join {{ ref('stg_stripe__subscriptions') }} as subscriptions
    on items.subscription_id = subscriptions.subscription_id
inner join {{ ref('int_periods__customers_in_scope') }} as scope on subscriptions.customer_id = scope.customer_id
inner join {{ ref('stg_stripe__prices') }} as prices on items.price_id = prices.price_id
left join {{ ref('stg_stripe__meters') }} as meters on prices.meter_id = meters.meter_id
left join additions on items.subscription_item_id = additions.subscription_item_id
left join {{ ref('currencies') }} as currencies on subscriptions.currency = currencies.currency
where
    subscriptions.status not in ('incomplete', 'incomplete_expired')
    and prices.price_type = 'recurring'
