-- The source that caused each run of usage gaps, and the window in which it began. The source is named, in this order,
-- when it alone equals the gap of some period; equals all gaps of the run's later periods together (the first is cut by
-- the change itself); alone fits the first period from some window on; equals the gaps of all customers together where
-- single ones do not tell; or is known from others and stopped here on the same day. One row per run.
with judged as (
    select * from {{ ref('int_usage__gap_volumes') }}
),

own as (
    select distinct on (run_id)
        run_id,
        source
    from judged
    where is_own_cause or (is_exact and exact_sources = 1 and later_gap = 0)
    order by
        run_id, matching_periods desc, is_own_cause desc,
        abs(later_volume - later_gap), source
),

-- Single customers may lose a little besides; over all of them that evens out.
pooled as (
    select distinct on (judged.stripe_event_name, judged.gap_sign)
        judged.stripe_event_name,
        judged.gap_sign,
        judged.source
    from judged
    left join own on judged.run_id = own.run_id
    where own.run_id is null
    group by judged.stripe_event_name, judged.gap_sign, judged.source
    having
        count(*) > 1
        and sum(judged.later_gap) > 0
        and abs(sum(judged.later_volume) - sum(judged.later_gap)) * 50 <= sum(judged.later_gap)
        and sum(abs(judged.later_volume - judged.later_gap)) * 4 <= sum(judged.later_gap)
    order by
        judged.stripe_event_name, judged.gap_sign, abs(sum(judged.later_volume) - sum(judged.later_gap)), judged.source
),

-- A leak of one period alone is too short to tell, but began with others whose source is known.
inherited as (
    select distinct on (judged.run_id)
        judged.run_id,
        judged.source
    from judged
    inner join {{ ref('int_usage__gap_starts') }} as starts
        on judged.run_id = starts.run_id and judged.source = starts.source
    inner join own on judged.source = own.source
    inner join {{ ref('int_usage__gap_starts') }} as known
        on own.run_id = known.run_id and own.source = known.source
    inner join judged as known_runs
        on
            own.run_id = known_runs.run_id
            and own.source = known_runs.source
            and judged.stripe_event_name = known_runs.stripe_event_name
            and judged.gap_sign = known_runs.gap_sign
    where
        judged.later_gap = 0
        and starts.started_at between known.started_at - interval '1 day' and known.started_at + interval '1 day'
    order by judged.run_id, judged.source
),

runs as (
    select
        run_id,
        customer_id,
        subscription_id,
        stripe_event_name,
        gap_sign,
        is_running,
        min(period_start) as first_period_start,
        max(period_end) as last_period_end
    from {{ ref('int_usage__gap_runs') }}
    group by run_id, customer_id, subscription_id, stripe_event_name, gap_sign, is_running
),

named as (
    select
        runs.*,
        coalesce(own.source, inherited.source, judged.source) as cause_source
    from runs
    left join own on runs.run_id = own.run_id
    left join inherited on runs.run_id = inherited.run_id
    left join pooled
        on runs.stripe_event_name = pooled.stripe_event_name and runs.gap_sign = pooled.gap_sign
    left join judged
        on
            own.run_id is null
            and runs.run_id = judged.run_id
            and pooled.source = judged.source
            and abs(judged.later_volume - judged.later_gap) * 4 <= judged.later_gap
)

select
    named.run_id,
    named.customer_id,
    named.subscription_id,
    named.stripe_event_name,
    named.gap_sign,
    named.cause_source,
    named.is_running,
    named.first_period_start,
    named.last_period_end,
    case
        when named.cause_source is not null or starts.is_exact
            then coalesce(starts.started_at, named.first_period_start)
        else named.first_period_start
    end as started_at
from named
left join {{ ref('int_usage__gap_starts') }} as starts
    on named.run_id = starts.run_id and coalesce(named.cause_source, '*') = starts.source
