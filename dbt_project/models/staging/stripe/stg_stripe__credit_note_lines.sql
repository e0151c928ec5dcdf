select
    -- ids
    credit_note_line_id,
    credit_note_id,
    invoice_line_id,
    -- attributes
    type as credit_note_line_type,
    quantity,
    -- amounts in minor units
    amount,
    discount_amount,
    exclusive_tax,
    inclusive_tax
from {{ source('raw_stripe', 'credit_note_lines') }}
