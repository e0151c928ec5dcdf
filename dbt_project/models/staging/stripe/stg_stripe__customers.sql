select
    -- ids
    customer_id,
    discount_id,
    default_payment_method_id,
    test_clock,
    -- attributes
    email,
    name,
    lower(currency) as currency,
    balance,
    delinquent,
    deleted as is_deleted,
    -- timestamps
    created as created_at
from {{ source('raw_stripe', 'customers') }}
