-- What would have to be told to Stripe's meter so that it has the usage of an open period: by the meter's formula, with
-- an instant inside that period, and with what its summary says before, by which the correction is verified later.
with candidates as (
    select
        detections.detection_id,
        detections.customer_id,
        detections.meter,
        detections.period_start,
        detections.evidence #>> '{charges,0,charge_id}' as charge_id,
        jsonb_array_length(detections.evidence -> 'charges') as charge_count,
        (detections.evidence ->> 'expected_quantity')::numeric as expected_quantity,
        (detections.evidence ->> 'billed_quantity')::numeric as billed_quantity
    from {{ ref('fct_leakage_detections') }} as detections
    where
        detections.leakage_type in ('unreported_usage', 'overbilled_usage')
        and detections.phase in ('open', 'preflight')
),

last_seen as (
    select
        candidates.detection_id,
        max(windows.last_at) as last_at
    from candidates
    inner join {{ ref('stg_usage__windows') }} as windows
        on
            candidates.customer_id = windows.customer_id
            and candidates.meter = windows.meter
            and candidates.period_start <= windows.window_start
    group by candidates.detection_id
),

measured as (
    select
        candidates.detection_id,
        candidates.charge_count,
        ranges.meter_id,
        meters.event_name as stripe_event_name,
        meters.status as meter_status,
        meters.formula,
        meters.event_time_window,
        meters.customer_event_key,
        meters.value_event_key,
        ranges.inner_start as summary_start,
        ranges.inner_end as summary_end,
        summaries.meter_id is not null as is_summary_known,
        coalesce(summaries.aggregated_value, 0) as metered_before,
        candidates.expected_quantity,
        candidates.expected_quantity - candidates.billed_quantity as quantity_change,
        -- When it happened, if Stripe still takes that; else the newest instant of the period: tiers depend on the
        -- period's total only. The last formula needs an instant after all that the meter has.
        case
            when meters.formula = 'last' or last_seen.last_at < settings.as_of - interval '34 days'
                then ranges.inner_end - interval '1 second'
            else greatest(
                least(date_trunc('second', last_seen.last_at), ranges.inner_end - interval '1 second'),
                ranges.inner_start
            )
        end as occurred_at
    from candidates
    cross join {{ ref('stg_business__audit_settings') }} as settings
    inner join {{ ref('int_usage__summary_ranges') }} as ranges on candidates.charge_id = ranges.charge_id
    inner join {{ ref('stg_stripe__meters') }} as meters on ranges.meter_id = meters.meter_id
    left join last_seen on candidates.detection_id = last_seen.detection_id
    left join {{ ref('stg_stripe__meter_event_summaries') }} as summaries
        on
            ranges.meter_id = summaries.meter_id
            and ranges.customer_id = summaries.customer_id
            and ranges.inner_start = summaries.start_at
            and ranges.inner_end = summaries.end_at
)

select
    detection_id,
    meter_id,
    stripe_event_name,
    formula,
    customer_event_key,
    value_event_key,
    summary_start,
    summary_end,
    metered_before,
    quantity_change,
    occurred_at,
    -- What the meter's summary of the same span is to say afterwards.
    case when formula = 'last' then expected_quantity else metered_before + quantity_change end as metered_after,
    case
        when charge_count != 1 then 'the meter has more than one charge in the period'
        when summary_end <= summary_start or occurred_at is null then 'the period has only just begun'
        when meter_status != 'active' then 'the meter is not active'
        when not is_summary_known then 'what the meter has is not known'
        when event_time_window is not null
            then 'the meter keeps one event per ' || event_time_window || ': send its whole total by hand'
        when formula = 'count' and (quantity_change < 1 or quantity_change > 100 or quantity_change % 1 != 0)
            then 'a counting meter takes one event each: too many, or too few, to send here'
        when quantity_change = 0 then 'nothing is left to report'
        when metered_before + quantity_change < 0 then 'the meter would fall below zero'
        when formula not in ('sum', 'count', 'last') then 'the formula ' || formula || ' is not known'
        -- Stripe takes fifteen significant digits.
        when
            length(regexp_replace(
                regexp_replace(
                    trim_scale(abs(case when formula = 'last' then expected_quantity else quantity_change end))::text,
                    '^0\.0*', ''
                ), '\.', ''
            )) > 15
            then 'the quantity has more than fifteen digits'
    end as held_because
from measured
