select
    -- ids
    product_id,
    -- attributes
    name,
    plan,
    active as is_active,
    -- timestamps
    created as created_at
from {{ source('raw_stripe', 'products') }}
