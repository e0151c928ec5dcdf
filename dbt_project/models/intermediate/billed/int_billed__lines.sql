-- Lines of finalised invoices (open, paid, uncollectible; billing model section 3), each attributed to the item and
-- period it is for: by the line's own item and period, never by the invoice's date.
with finalized as (
    select
        lines.line_id,
        lines.invoice_id,
        coalesce(lines.subscription_id, invoices.subscription_id) as subscription_id,
        lines.subscription_item_id,
        lines.price_id,
        lines.quantity,
        lines.amount,
        lines.discount_amount,
        lines.is_proration,
        lines.is_proration and (lines.amount < 0 or lines.credited_items is not null) as is_credit,
        lines.period_start,
        lines.period_end,
        invoices.status as invoice_status,
        invoices.created_at as invoice_created_at,
        invoices.finalized_at,
        invoices.total as invoice_total,
        invoices.amount_paid as invoice_amount_paid
    from {{ ref('stg_stripe__invoice_lines') }} as lines
    inner join {{ ref('stg_stripe__invoices') }} as invoices on lines.invoice_id = invoices.invoice_id
    cross join {{ ref('stg_business__audit_settings') }} as settings
    where
        invoices.status in ('open', 'paid', 'uncollectible')
        -- Auditing a past instant: what was finalised later was a draft then.
        and (invoices.finalized_at is null or invoices.finalized_at <= settings.as_of)
),

-- A pending proration names only the subscription: its price, which the item may have no more, tells the item; else
-- the only licensed item is meant.
by_price as (
    select
        subscription_id,
        price_id,
        min(subscription_item_id) as subscription_item_id
    from {{ ref('int_history__item_observations') }}
    group by subscription_id, price_id
),

sole_licence as (
    select
        subscription_id,
        min(subscription_item_id) as subscription_item_id
    from {{ ref('int_periods__items') }}
    where usage_type = 'licensed'
    group by subscription_id
    having count(*) = 1
),

identified as (
    select
        finalized.*,
        coalesce(
            finalized.subscription_item_id,
            case when finalized.is_proration then by_price.subscription_item_id end,
            case when finalized.is_proration then sole_licence.subscription_item_id end
        ) as billed_item_id
    from finalized
    left join by_price
        on finalized.subscription_id = by_price.subscription_id and finalized.price_id = by_price.price_id
    left join sole_licence on finalized.subscription_id = sole_licence.subscription_id
)

select
    identified.line_id,
    identified.invoice_id,
    identified.billed_item_id as subscription_item_id,
    periods.subscription_id,
    periods.item_period_id,
    identified.price_id,
    identified.quantity,
    identified.amount::numeric as gross_amount,
    coalesce(identified.discount_amount, 0)::numeric as discount_amount,
    identified.is_proration,
    identified.is_credit,
    identified.period_start as line_start,
    identified.period_end as line_end,
    identified.invoice_status,
    identified.invoice_created_at,
    identified.finalized_at,
    case
        when identified.invoice_total > 0
            then least(1, identified.invoice_amount_paid::numeric / identified.invoice_total)
        when identified.invoice_status = 'paid' then 1
        else 0
    end as paid_share
from identified
inner join {{ ref('int_periods__item_periods') }} as periods
    on
        identified.billed_item_id = periods.subscription_item_id
        and identified.period_start >= periods.period_start
        and (
            identified.period_start < periods.period_end
            -- The credit for an immediate cancellation begins where the last period ends (billing model 7.7).
            or periods.is_last
            -- So does the credit for the rest of a period that a moved anchor, or a pause, cut.
            or (
                identified.is_credit
                and identified.period_start = periods.period_end
                and periods.natural_end > periods.period_end
            )
        )
        and not (
            identified.is_credit
            and identified.period_start = periods.period_start
            and periods.is_after_cut
        )
where
    -- Classic billing mode announces a new metered item by a line of nothing for the period that only begins.
    not coalesce(
        periods.usage_type = 'metered'
        and identified.amount = 0
        and coalesce(identified.quantity, 0) = 0
        and identified.invoice_created_at < identified.period_end, false
    )
