-- How much of each source was used over a run of usage gaps, beside the gaps: what names the source that caused it. One
-- row per run and source that is large enough.
with volumes as (
    select
        runs.run_id,
        runs.stripe_event_name,
        runs.gap_sign,
        sources.source,
        max(runs.charges_in_run) as periods,
        count(*) filter (where runs.cause_source = sources.source) as matching_periods,
        coalesce(sum(runs.gap_quantity) filter (where not runs.is_first), 0) as later_gap,
        coalesce(sum(
            case runs.formula when 'count' then sources.event_count else sources.quantity_sum end
        ) filter (where not runs.is_first), 0) as later_volume
    from {{ ref('int_usage__gap_runs') }} as runs
    inner join {{ ref('int_usage__period_sources') }} as sources on runs.charge_id = sources.charge_id
    where sources.source != ''
    group by runs.run_id, runs.stripe_event_name, runs.gap_sign, sources.source
)

select
    volumes.*,
    starts.is_exact,
    -- In most of the periods, or in all but the first together.
    volumes.matching_periods * 2 > volumes.periods
    or (volumes.later_gap > 0 and abs(volumes.later_volume - volumes.later_gap) * 100 <= volumes.later_gap)
        as is_own_cause,
    count(*) filter (where starts.is_exact) over (partition by volumes.run_id) as exact_sources
from volumes
left join {{ ref('int_usage__gap_starts') }} as starts
    on volumes.run_id = starts.run_id and volumes.source = starts.source
where coalesce(starts.is_possible, true)
