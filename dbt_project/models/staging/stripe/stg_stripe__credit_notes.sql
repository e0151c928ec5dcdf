select
    -- ids
    credit_note_id,
    invoice_id,
    customer_id,
    -- attributes
    status,
    type as credit_note_type,
    reason,
    lower(currency) as currency,
    -- amounts in minor units
    amount,
    subtotal,
    total,
    pre_payment_amount,
    post_payment_amount,
    out_of_band_amount,
    -- timestamps
    created as created_at,
    effective_at,
    voided_at
from {{ source('raw_stripe', 'credit_notes') }}
