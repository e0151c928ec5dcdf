-- Events of each customer and meter of the log, and how many of them were late or repeated.
select
    customer_id,
    meter,
    sum(event_count) as event_count,
    sum(late_count) as late_events,
    sum(duplicate_events) as duplicate_events
from {{ ref('int_usage__meter_windows') }}
group by customer_id, meter
