select
    -- ids
    payment_method_id,
    customer_id,
    -- attributes
    type as method_type,
    card_brand,
    card_last4,
    is_customer_default,
    subscription_ids,
    -- amounts and quantities
    card_exp_month,
    card_exp_year,
    -- timestamps
    created as created_at
from {{ source('raw_stripe', 'payment_methods') }}
