-- Days in a row without any event of a meter that nearly always has some: the log was silent, not the customers. Severe
-- when chance does not explain it: the meter would have had twenty events or more. Today is not over and not judged.
with days as (
    -- As date_trunc('day', ..., 'UTC') at less than half its price: this reads the windows of everybody.
    select
        meter,
        date_bin('1 day', window_start, timestamptz '2000-01-01 00:00:00+00') as day,
        sum(event_count) as event_count
    from (
        select
            meter,
            window_start,
            event_count
        from {{ of_all_customers(ref('stg_usage__windows'), 'raw_usage', 'usage_windows') }}
        union all
        select
            meter,
            window_start,
            event_count
        from {{ ref('stg_usage__unattributed') }}
    ) as logged
    group by meter, date_bin('1 day', window_start, timestamptz '2000-01-01 00:00:00+00')
),

meters as (
    select
        days.meter,
        min(days.day) as first_day,
        date_trunc('day', min(settings.as_of), 'UTC') as today,
        count(*) as days_with_events
    from days
    cross join {{ ref('stg_business__audit_settings') }} as settings
    where days.day < date_trunc('day', settings.as_of, 'UTC')
    group by days.meter
    having
        date_trunc('day', min(settings.as_of), 'UTC') - min(days.day) >= interval '14 days'
        and count(*) >= 0.9 * extract(epoch from date_trunc('day', min(settings.as_of), 'UTC') - min(days.day)) / 86400
),

silent_days as (
    select
        meters.meter,
        meters.today,
        expected.day,
        expected.day - row_number() over (partition by meters.meter order by expected.day) * interval '1 day' as island
    from meters
    cross join
        lateral generate_series(meters.first_day, meters.today - interval '1 day', interval '1 day') as expected (day)
    left join days on meters.meter = days.meter and expected.day = days.day
    where days.day is null
),

silences as (
    select
        meter,
        today,
        min(day) as silent_from,
        max(day) + interval '1 day' as silent_until,
        count(*) as silent_days
    from silent_days
    group by meter, today, island
),

-- What is usual changes as a company grows: the week before and the week after tell.
measured as (
    select
        silences.*,
        coalesce(sum(days.event_count), 0) * silences.silent_days
        / case when silences.silent_until >= silences.today then 7 else 14 end as expected_events
    from silences
    left join days
        on
            silences.meter = days.meter
            and days.day >= silences.silent_from - interval '7 days'
            and days.day < silences.silent_until + interval '7 days'
    group by silences.meter, silences.today, silences.silent_from, silences.silent_until, silences.silent_days
)

select
    measured.meter,
    coalesce(mappings.stripe_event_name, measured.meter) as stripe_event_name,
    measured.silent_from,
    measured.silent_until,
    measured.silent_days,
    round(measured.expected_events) as expected_events,
    measured.expected_events >= 20 as is_severe,
    -- Nothing has come since: the source is stale.
    measured.silent_until >= measured.today as is_stale
from measured
left join {{ ref('stg_business__meter_mappings') }} as mappings on measured.meter = mappings.meter
