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
    nullif(payload -> 'applies_to' -> 'products', 'null'::jsonb) as product_ids,
    nullif(payload -> 'currency_options', 'null'::jsonb) as currency_options,
    lower(metadata ->> 'discount_reason') as discount_reason,
    -- timestamps
    redeem_by,
    created as created_at
from {{ source('raw_stripe', 'coupons') }}
