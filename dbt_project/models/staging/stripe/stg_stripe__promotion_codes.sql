select
    -- ids
    promotion_code_id,
    coupon_id,
    customer_id,
    -- attributes
    code,
    active as is_active,
    -- amounts and quantities
    max_redemptions,
    times_redeemed,
    -- timestamps
    expires_at,
    created as created_at
from {{ source('raw_stripe', 'promotion_codes') }}
