-- The roll-up of meaning.py over `events`, in the SQL that databases and Spark have in common. One
-- row per window, and one row per reason with the number of rows that do not count for it. Text in
-- `events` compares and sorts by its bytes.
with events as ({events}),

segments as ({segments}),

finalizations as ({finalizations}),

meter_names as ({meter_names}),

ranked as (
    select
        event_id,
        customer_ref,
        meter,
        source,
        value,
        occurred_us,
        received_us,
        occurred_us {div} {day_us} as day,
        count(*) over (partition by event_id) - 1 as copies,
        row_number() over (
            partition by event_id
            order by
                occurred_us, source_order, case when received_us is null then 1 else 0 end,
                received_us, customer_ref, meter, source, value
        ) as place
    from events
    where reason is null
),

placed as (
    select
        ranked.*,
        coalesce(segments.from_us, ranked.day * {day_us}) as window_start_us
    from ranked
    left join segments
        on ranked.customer_ref = segments.customer_ref
        and ranked.day = segments.day
        and ranked.occurred_us >= segments.from_us
        and ranked.occurred_us < segments.until_us
    where ranked.place = 1
),

finalized_windows as (
    select
        windows.customer_ref,
        windows.meter,
        windows.window_start_us,
        max(finalizations.finalized_us) as finalized_us
    from (
        select distinct customer_ref, meter, window_start_us
        from placed
        where received_us is not null
    ) as windows
    left join meter_names on windows.meter = meter_names.meter
    inner join finalizations
        on windows.customer_ref = finalizations.customer_ref
        and coalesce(meter_names.stripe_event_name, windows.meter)
        = finalizations.stripe_event_name
        and windows.window_start_us >= finalizations.period_start_us
        and windows.window_start_us < finalizations.period_end_us
    group by windows.customer_ref, windows.meter, windows.window_start_us
    having min(case when finalizations.finalized_us is null then 0 else 1 end) = 1
),

judged as (
    select
        placed.*,
        case when placed.received_us >= finalized_windows.finalized_us then 1 else 0 end as late,
        case when placed.received_us < placed.occurred_us - {skew_us} then 1 else 0 end as skewed,
        row_number() over (
            partition by placed.customer_ref, placed.meter, placed.source, placed.window_start_us
            order by placed.occurred_us desc, placed.value desc
        ) as from_latest
    from placed
    left join finalized_windows
        on placed.customer_ref = finalized_windows.customer_ref
        and placed.meter = finalized_windows.meter
        and placed.window_start_us = finalized_windows.window_start_us
)

select
    customer_ref,
    meter,
    source,
    window_start_us,
    count(*) as event_count,
    sum(value) as quantity_sum,
    max(occurred_us) as latest_us,
    max(case when from_latest = 1 then value end) as latest_value,
    min(occurred_us) as first_us,
    max(received_us) as received_us,
    sum(copies) as duplicate_events,
    sum(late) as late_count,
    sum(case when late = 1 then value else 0 end) as late_sum,
    sum(skewed) as skewed_events,
    null as reason
from judged
group by customer_ref, meter, source, window_start_us
union all
select
    null, null, null, null, count(*), null, null, null, null, null, null, null, null, null,
    reason
from events
where reason is not null
group by reason
