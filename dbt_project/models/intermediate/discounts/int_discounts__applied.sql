-- Discounts on each charge: those that Stripe took off its lines; for a fee without any line, those that were active
-- when it should have been billed (the subscription's own, else the customer's).
with on_lines as (
    select
        periods.item_period_id,
        line_discounts.discount_id,
        sum(line_discounts.amount)::numeric as discount_amount,
        min(lines.invoice_created_at) as invoiced_at
    from {{ ref('int_periods__item_periods') }} as periods
    inner join {{ ref('int_billed__lines') }} as lines
        on periods.item_period_id = lines.item_period_id and not lines.is_proration
    inner join
        {{ ref('stg_stripe__invoice_line_discounts') }} as line_discounts
        on lines.line_id = line_discounts.line_id
    where line_discounts.amount != 0
    group by periods.item_period_id, line_discounts.discount_id
),

active as (
    select
        periods.item_period_id,
        discounts.discount_id,
        case when periods.usage_type = 'metered' then periods.period_end else periods.period_start end as invoiced_at
    from {{ ref('int_periods__item_periods') }} as periods
    left join {{ ref('int_billed__periods') }} as billed on periods.item_period_id = billed.item_period_id
    inner join {{ ref('stg_stripe__discounts') }} as discounts
        on
            periods.customer_id = discounts.customer_id
            and discounts.invoice_id is null
            and discounts.invoice_item_id is null
            and coalesce(discounts.subscription_item_id, periods.subscription_item_id) = periods.subscription_item_id
            and coalesce(discounts.subscription_id, periods.subscription_id) = periods.subscription_id
            and periods.period_end >= discounts.start_at
    where billed.item_period_id is null
)

select
    applied.item_period_id,
    applied.discount_id,
    applied.discount_amount,
    applied.invoiced_at,
    applied.is_on_line,
    discounts.coupon_id,
    discounts.start_at,
    discounts.end_at,
    coupons.percent_off,
    coupons.amount_off,
    coupons.duration,
    coupons.redeem_by,
    coupons.discount_reason
from (
    select
        item_period_id,
        discount_id,
        discount_amount,
        invoiced_at,
        true as is_on_line
    from on_lines
    union all
    select
        item_period_id,
        discount_id,
        null as discount_amount,
        invoiced_at,
        false as is_on_line
    from active
) as applied
left join {{ ref('stg_stripe__discounts') }} as discounts on applied.discount_id = discounts.discount_id
left join {{ ref('stg_stripe__coupons') }} as coupons on discounts.coupon_id = coupons.coupon_id
where
    applied.is_on_line
    or (
        discounts.start_at <= applied.invoiced_at
        and (discounts.end_at is null or applied.invoiced_at < discounts.end_at)
    )
