select
    -- ids
    schedule_id,
    customer_id,
    subscription_id,
    -- attributes
    status,
    -- timestamps
    current_phase_start,
    current_phase_end,
    released_at,
    completed_at,
    canceled_at,
    created as created_at
from {{ source('raw_stripe', 'subscription_schedules') }}
