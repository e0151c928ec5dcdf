-- Discounts that Stripe would take off a line that does not exist: those active when its invoice should have been
-- made, for its product. A subscription with discounts of its own does not get its customer's. A discount that is
-- given once goes to the first such invoice, unless some invoice had it already.
with seen as (
    select
        discount_id,
        min(discount_position) as discount_position
    from {{ ref('stg_stripe__invoice_line_discounts') }}
    where amount != 0
    group by discount_id
),

candidates as (
    select
        prices.item_period_id,
        prices.subscription_id,
        prices.currency,
        case when prices.usage_type = 'metered' then prices.period_end else prices.period_start end as invoiced_at,
        discounts.discount_id,
        discounts.coupon_id,
        discounts.start_at,
        discounts.end_at,
        coupons.duration,
        seen.discount_id is not null as was_given,
        coalesce(seen.discount_position, 1000) as discount_position,
        case
            when discounts.subscription_item_id is not null then 0
            when discounts.subscription_id is not null then 1
            else 2
        end as breadth
    from {{ ref('int_terms__item_period_prices') }} as prices
    left join {{ ref('int_billed__periods') }} as billed on prices.item_period_id = billed.item_period_id
    inner join {{ ref('stg_stripe__discounts') }} as discounts
        on
            prices.customer_id = discounts.customer_id
            and discounts.invoice_id is null
            and discounts.invoice_item_id is null
            and coalesce(discounts.subscription_item_id, prices.subscription_item_id) = prices.subscription_item_id
            and coalesce(discounts.subscription_id, prices.subscription_id) = prices.subscription_id
    left join {{ ref('stg_stripe__coupons') }} as coupons on discounts.coupon_id = coupons.coupon_id
    left join seen on discounts.discount_id = seen.discount_id
    where
        billed.item_period_id is null
        and (coupons.product_ids is null or coupons.product_ids ? prices.product_id)
),

active as (
    select
        candidates.*,
        min(candidates.breadth) over (partition by candidates.item_period_id) as own_breadth,
        min(candidates.invoiced_at) over (partition by candidates.discount_id) as first_invoiced_at
    from candidates
    where
        candidates.start_at <= candidates.invoiced_at
        and (candidates.end_at is null or candidates.invoiced_at < candidates.end_at)
)

select
    item_period_id,
    subscription_id,
    currency,
    discount_id,
    coupon_id,
    invoiced_at,
    row_number() over (
        partition by item_period_id order by breadth, discount_position, start_at, discount_id
    ) as discount_position
from active
where
    (breadth < 2 or own_breadth = 2)
    and (duration is distinct from 'once' or (not was_given and invoiced_at = first_invoiced_at))
