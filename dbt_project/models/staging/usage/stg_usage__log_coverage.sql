select
    -- ids
    meter,
    -- quantities
    event_count,
    -- timestamps
    first_event_at,
    last_event_at
from {{ source('raw_usage', 'log_coverage') }}
