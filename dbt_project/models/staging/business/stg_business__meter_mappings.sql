select
    -- ids
    meter,
    stripe_event_name
from {{ source('raw_business', 'meter_mappings') }}
