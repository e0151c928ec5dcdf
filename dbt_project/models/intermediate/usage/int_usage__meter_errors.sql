-- Stripe's reports of rejected meter events, under the meter's name in the log. They do not say whose events they were.
with names as (
    select
        coverage.meter,
        coalesce(mappings.stripe_event_name, coverage.meter) as event_name
    from {{ ref('stg_usage__log_coverage') }} as coverage
    left join {{ ref('stg_business__meter_mappings') }} as mappings on coverage.meter = mappings.meter
)

select
    errors.event_id,
    errors.code,
    names.meter,
    errors.meter_id,
    errors.error_count,
    errors.sample_message,
    errors.sample_requests,
    errors.window_start,
    errors.window_end
from {{ ref('stg_stripe__meter_errors') }} as errors
inner join {{ ref('stg_stripe__meters') }} as meters on errors.meter_id = meters.meter_id
inner join names on meters.event_name = names.event_name
