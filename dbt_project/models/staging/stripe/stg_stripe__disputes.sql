select
    -- ids
    dispute_id,
    charge_id,
    payment_intent_id,
    -- attributes
    lower(currency) as currency,
    status,
    reason,
    -- amounts and quantities
    amount,
    -- timestamps
    created as created_at,
    evidence_due_by
from {{ source('raw_stripe', 'disputes') }}
