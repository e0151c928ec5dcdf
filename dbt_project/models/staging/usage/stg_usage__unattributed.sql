select
    -- ids
    customer_ref,
    meter,
    source,
    -- quantities
    event_count,
    quantity_sum,
    reason,
    -- timestamps
    window_start,
    window_end
from {{ source('raw_usage', 'unattributed_usage') }}
