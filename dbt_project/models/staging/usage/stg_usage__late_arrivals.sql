select
    -- ids
    customer_id,
    meter,
    source,
    -- quantities
    event_count,
    quantity_sum,
    -- timestamps
    window_start,
    seen_at
from {{ source('raw_usage', 'late_arrivals') }}
