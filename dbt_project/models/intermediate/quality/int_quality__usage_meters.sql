-- What is odd about each meter of the log: nobody sells it, its newest event is old, many events are late or repeated.
-- One row per meter of the log.
with windows as (
    select
        meter,
        sum(event_count) as event_count,
        sum(late_events) as late_events,
        sum(duplicate_events) as duplicate_events
    from {{ ref('int_usage__customer_meters') }}
    group by meter
),

priced as (
    select distinct terms.stripe_event_name from {{ all_meter_terms() }} as terms
)

select
    coverage.meter,
    coalesce(mappings.stripe_event_name, coverage.meter) as stripe_event_name,
    meters.meter_id is null as is_unknown_to_stripe,
    meters.meter_id is null and priced.stripe_event_name is null as is_unmapped,
    coverage.first_event_at,
    coverage.last_event_at,
    coverage.last_event_at < settings.as_of - interval '36 hours' as is_stale,
    coverage.event_count,
    coalesce(windows.late_events, 0) as late_events,
    coalesce(windows.duplicate_events, 0) as duplicate_events
from {{ ref('stg_usage__log_coverage') }} as coverage
cross join {{ ref('stg_business__audit_settings') }} as settings
left join {{ ref('stg_business__meter_mappings') }} as mappings on coverage.meter = mappings.meter
left join {{ ref('stg_stripe__meters') }} as meters
    on coalesce(mappings.stripe_event_name, coverage.meter) = meters.event_name and meters.status = 'active'
left join priced on coalesce(mappings.stripe_event_name, coverage.meter) = priced.stripe_event_name
left join windows on coverage.meter = windows.meter
