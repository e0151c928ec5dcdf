select
    -- ids
    customer_id,
    meter,
    source,
    -- quantities
    event_count,
    quantity_sum,
    last_value,
    late_count,
    late_sum,
    duplicate_events,
    skewed_events,
    -- timestamps
    window_start,
    window_end,
    last_at
from {{ source('raw_usage', 'usage_windows') }}
