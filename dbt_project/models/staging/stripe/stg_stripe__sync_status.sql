select
    -- ids
    object,
    -- attributes
    requests,
    rows,
    status,
    detail
from {{ source('raw_stripe', 'sync_status') }}
