select
    -- ids
    charge_id,
    customer_id,
    payment_intent_id,
    -- attributes
    lower(currency) as currency,
    status,
    paid as is_paid,
    captured as is_captured,
    disputed as is_disputed,
    refunded as is_refunded,
    failure_code,
    -- amounts and quantities
    amount,
    amount_captured,
    amount_refunded,
    -- timestamps
    created as created_at
from {{ source('raw_stripe', 'charges') }}
