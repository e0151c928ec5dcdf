select
    -- ids
    event_id,
    object_id,
    customer_id,
    subscription_id,
    request_id,
    -- attributes
    type as event_type,
    object_type,
    api_version,
    pending_webhooks,
    is_undelivered,
    previous_attributes,
    data_object,
    -- timestamps
    created as created_at
from {{ source('raw_stripe', 'events') }}
-- Rows of a later audit stay when an earlier instant is audited again; they are not known yet then.
where created <= (select settings.as_of from {{ source('raw_business', 'audit_settings') }} as settings)
