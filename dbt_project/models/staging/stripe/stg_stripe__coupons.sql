select
    -- ids
    coupon_id,
    -- attributes
    name,
    percent_off,
    amount_off,
    lower(currency) as currency,
    duration,
    duration_in_months,
    lower(metadata ->> 'discount_reason') as discount_reason,
    -- timestamps
    redeem_by,
    created as created_at
from {{ source('raw_stripe', 'coupons') }}
