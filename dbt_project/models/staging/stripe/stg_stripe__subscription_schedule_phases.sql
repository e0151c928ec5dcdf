select
    -- ids
    schedule_id,
    phase_index,
    item_index,
    price_id,
    -- amounts and quantities
    quantity,
    -- timestamps
    start_at,
    end_at
from {{ source('raw_stripe', 'subscription_schedule_phases') }}
