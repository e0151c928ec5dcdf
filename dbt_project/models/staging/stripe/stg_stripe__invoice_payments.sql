select
    -- ids
    invoice_payment_id,
    invoice_id,
    payment_intent_id,
    charge_id,
    -- attributes
    payment_type,
    lower(currency) as currency,
    status,
    is_default,
    -- amounts and quantities
    amount_paid,
    amount_requested,
    -- timestamps
    paid_at,
    created as created_at
from {{ source('raw_stripe', 'invoice_payments') }}
