select
    -- ids
    subscription_item_id,
    subscription_id,
    price_id,
    -- attributes
    quantity,
    -- timestamps
    current_period_start,
    current_period_end,
    created as created_at
from {{ source('raw_stripe', 'subscription_items') }}
