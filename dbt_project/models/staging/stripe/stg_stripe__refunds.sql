select
    -- ids
    refund_id,
    charge_id,
    payment_intent_id,
    -- attributes
    lower(currency) as currency,
    status,
    reason,
    -- amounts and quantities
    amount,
    -- timestamps
    created as created_at
from {{ source('raw_stripe', 'refunds') }}
