select
    -- ids
    price_id,
    lower(currency) as currency,
    tier_index,
    -- attributes
    up_to,
    unit_amount_decimal,
    flat_amount_decimal
from {{ source('raw_stripe', 'price_tiers') }}
