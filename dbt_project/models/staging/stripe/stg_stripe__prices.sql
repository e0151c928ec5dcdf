select
    -- ids
    price_id,
    product_id,
    meter_id,
    -- attributes
    active as is_active,
    lower(currency) as currency,
    type as price_type,
    billing_scheme,
    unit_amount_decimal,
    tiers_mode,
    transform_divide_by,
    transform_round,
    lower("interval") as billing_interval,
    interval_count,
    usage_type,
    tax_behavior,
    lookup_key,
    nickname,
    plan,
    has_custom_unit_amount,
    -- timestamps
    created as created_at
from {{ source('raw_stripe', 'prices') }}
