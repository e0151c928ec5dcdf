select
    -- ids
    event_id,
    code,
    meter_id,
    -- attributes
    type as event_type,
    error_count,
    sample_message,
    sample_requests,
    -- timestamps
    coalesce(window_start, created) as window_start,
    coalesce(window_end, created) as window_end,
    created as created_at
from {{ source('raw_stripe', 'meter_errors') }}
