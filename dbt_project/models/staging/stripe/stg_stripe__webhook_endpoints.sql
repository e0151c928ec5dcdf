select
    -- ids
    webhook_endpoint_id,
    -- attributes
    url,
    status,
    enabled_events,
    api_version,
    -- timestamps
    created as created_at
from {{ source('raw_stripe', 'webhook_endpoints') }}
