select
    -- ids
    term_kind,
    term_id,
    meter,
    tier_index,
    -- terms in currency units
    up_to,
    unit_amount,
    flat_amount
from {{ source('raw_business', 'term_tiers') }}
