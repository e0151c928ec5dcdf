-- The plan that a Stripe price stands for (docs/configuration.md), and how many months one interval has.
select
    prices.price_id,
    prices.product_id,
    prices.usage_type,
    prices.billing_interval,
    prices.interval_count,
    {{ interval_months('prices.billing_interval', 'prices.interval_count') }} as interval_months,
    prices.created_at as price_created_at,
    prices.unit_amount_decimal,
    prices.meter_id,
    case
        when prices.usage_type = 'metered' then coalesce(meters.event_name, prices.meter_id, prices.price_id)
    end as stripe_event_name,
    meters.formula,
    lower(trim(coalesce(
        nullif(prices.plan, ''), nullif(products.plan, ''), nullif(prices.lookup_key, ''),
        nullif(prices.nickname, ''), products.name
    ))) as plan_key
from {{ ref('stg_stripe__prices') }} as prices
left join {{ ref('stg_stripe__products') }} as products on prices.product_id = products.product_id
left join {{ ref('stg_stripe__meters') }} as meters on prices.meter_id = meters.meter_id
