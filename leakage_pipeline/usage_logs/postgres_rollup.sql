-- The roll-up of meaning.py over `events`. Its result has one row per window, and one row per
-- reason with the number of rows that do not count for it. Text is ordered by bytes (collate "C"),
-- as DuckDB orders it.
with events as ({events}),

cut_days as materialized (
    select
        customer_ref,
        cut_us / {day_us} as day,
        array_agg(cut_us) as cuts
    from json_to_recordset({cuts}) as cuts (customer_ref text, cut_us bigint)
    group by customer_ref, cut_us / {day_us}
),

finalizations as materialized (
    select *
    from json_to_recordset({finalizations}) as finalizations (
        customer_ref text,
        stripe_event_name text,
        period_start_us bigint,
        period_end_us bigint,
        finalized_us bigint
    )
),

meter_names as materialized (
    select *
    from json_to_recordset({meter_names}) as meter_names (meter text, stripe_event_name text)
),

ranked as (
    select
        event_id,
        customer_ref,
        meter,
        source,
        value,
        occurred_us,
        received_us,
        count(*) over (partition by event_id) - 1 as copies,
        row_number() over (
            partition by event_id
            order by
                occurred_us, received_us nulls last,
                customer_ref collate "C", meter collate "C", source collate "C", value
        ) as place
    from events
    where reason is null
),

placed as materialized (
    select
        ranked.*,
        coalesce(
            (select max(cut_us) from unnest(cut_days.cuts) as cuts (cut_us)
            where cut_us <= ranked.occurred_us),
            ranked.occurred_us / {day_us} * {day_us}
        ) as window_start_us
    from ranked
    left join cut_days
        on ranked.customer_ref = cut_days.customer_ref
        and ranked.occurred_us / {day_us} = cut_days.day
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
    having bool_and(finalizations.finalized_us is not null)
),

judged as (
    select
        placed.*,
        coalesce(placed.received_us >= finalized_windows.finalized_us, false) as is_late,
        row_number() over (
            partition by placed.customer_ref, placed.meter, placed.source, placed.window_start_us
            order by placed.occurred_us desc, placed.event_id collate "C" desc
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
    max(event_id) filter (where from_latest = 1) as latest_event_id,
    max(value) filter (where from_latest = 1) as latest_value,
    min(occurred_us) as first_us,
    max(received_us) as received_us,
    sum(copies) as duplicate_events,
    count(*) filter (where is_late) as late_count,
    coalesce(sum(value) filter (where is_late), 0) as late_sum,
    count(*) filter (where received_us < occurred_us - {skew_us}) as skewed_events,
    null as reason
from judged
group by customer_ref, meter, source, window_start_us
union all
select
    null, null, null, null, count(*), null, null, null, null, null, null, null, null, null, null,
    reason
from events
where reason is not null
group by reason
