select
    -- ids
    meter_id,
    event_name,
    -- attributes
    display_name,
    status,
    formula,
    event_time_window,
    customer_event_key,
    value_event_key
from {{ source('raw_stripe', 'meters') }}
