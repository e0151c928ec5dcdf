select
    -- ids
    line_id,
    discount_id,
    -- attributes
    "position" as discount_position,
    -- amounts in minor units
    amount
from {{ source('raw_stripe', 'invoice_line_discounts') }}
