{{ config(materialized='view') }}
-- Usage windows under the meter's name at Stripe. Late is what received_at tells, and where a source has none what no
-- audit before the invoice had seen (billing model 7.10).
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
    least(windows.event_count, windows.late_count + coalesce(arrivals.late_count, 0)) as late_count,
    least(windows.quantity_sum, windows.late_sum + coalesce(arrivals.late_sum, 0)) as late_sum,
    windows.duplicate_events,
    windows.skewed_events
from {{ ref('stg_usage__windows') }} as windows
left join {{ ref('stg_business__meter_mappings') }} as mappings on windows.meter = mappings.meter
left join {{ ref('int_usage__late_arrivals') }} as arrivals
    on
        windows.customer_id = arrivals.customer_id
        and windows.meter = arrivals.meter
        and windows.source = arrivals.source
        and windows.window_start = arrivals.window_start
