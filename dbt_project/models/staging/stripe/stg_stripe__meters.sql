select
    -- ids
    meter_id,
    event_name,
    -- attributes
    display_name,
    status,
    formula,
    event_time_window
from {{ source('raw_stripe', 'meters') }}
