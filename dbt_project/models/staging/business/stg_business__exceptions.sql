select
    -- ids
    exception_id,
    customer_id,
    leakage_type,
    -- attributes
    reason,
    approved_by,
    -- validity
    valid_from,
    valid_until
from {{ source('raw_business', 'exceptions') }}
