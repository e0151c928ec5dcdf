select
    -- ids
    term_kind,
    term_id,
    meter,
    -- terms
    included_quantity,
    has_rate,
    rate_kind,
    divide_by,
    round_mode
from {{ source('raw_business', 'term_meters') }}
