{{ config(materialized='view') }}
-- Usage windows under the meter's name at Stripe.
select
    windows.customer_id,
    coalesce(mappings.stripe_event_name, windows.meter) as stripe_event_name,
    windows.meter,
    windows.source,
    windows.window_start,
    windows.window_end,
    windows.event_count,
    windows.quantity_sum,
    windows.last_value,
    windows.last_at,
    windows.late_count,
    windows.late_sum,
    windows.duplicate_events
from {{ ref('stg_usage__windows') }} as windows
left join {{ ref('stg_business__meter_mappings') }} as mappings on windows.meter = mappings.meter
