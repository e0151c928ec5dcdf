select
    -- ids
    transaction_id,
    customer_id,
    invoice_id,
    credit_note_id,
    -- attributes
    type as transaction_type,
    lower(currency) as currency,
    -- amounts and quantities
    amount,
    ending_balance,
    -- timestamps
    created as created_at
from {{ source('raw_stripe', 'customer_balance_transactions') }}
