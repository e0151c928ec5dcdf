select
    -- ids
    meter_id,
    customer_id,
    -- attributes
    aggregated_value,
    -- timestamps
    start_at,
    end_at
from {{ source('raw_stripe', 'meter_event_summaries') }}
