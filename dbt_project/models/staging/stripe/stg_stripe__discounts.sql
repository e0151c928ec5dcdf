select
    -- ids
    discount_id,
    coupon_id,
    customer_id,
    subscription_id,
    subscription_item_id,
    invoice_id,
    invoice_item_id,
    promotion_code_id,
    -- timestamps
    start_at,
    end_at
from {{ source('raw_stripe', 'discounts') }}
