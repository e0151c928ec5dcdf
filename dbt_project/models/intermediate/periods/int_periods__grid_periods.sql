-- Periods that fill the gaps: origin + n intervals, never step by step, so that the 31st comes back after February.
-- The origin is the billing cycle anchor when an edge of the gap lies on its grid; else (the anchor was moved
-- since) the gap's own start.
with counted as (
    select
        *,
        {{ billing_intervals_between('billing_cycle_anchor', 'gap_start', 'billing_interval', 'interval_count') }}
            as steps_in,
        {{ billing_intervals_between('billing_cycle_anchor', 'gap_end', 'billing_interval', 'interval_count') }}
            as steps_out
    from {{ ref('int_periods__gaps') }}
),

touching as (
    select
        *,
        is_open_ended
        or gap_start in (
            {{ add_billing_intervals('billing_cycle_anchor', 'steps_in', 'billing_interval', 'interval_count') }},
            {{ add_billing_intervals('billing_cycle_anchor', 'steps_in + 1', 'billing_interval', 'interval_count') }}
        )
        or gap_end in (
            {{ add_billing_intervals('billing_cycle_anchor', 'steps_out', 'billing_interval', 'interval_count') }},
            {{ add_billing_intervals('billing_cycle_anchor', 'steps_out + 1', 'billing_interval', 'interval_count') }}
        ) as is_on_anchor_grid
    from counted
),

cuts as (
    select
        touching.subscription_item_id,
        touching.gap_start,
        touching.gap_end,
        touching.is_open_ended,
        {{ add_billing_intervals(
            'case when touching.is_on_anchor_grid then touching.billing_cycle_anchor else touching.gap_start end',
            'counter.n', 'touching.billing_interval', 'touching.interval_count'
        ) }} as cut_at
    from touching
    cross join lateral generate_series(
        case when touching.is_on_anchor_grid then touching.steps_in - 2 else -1 end,
        touching.steps_out + 2
        - case when touching.is_on_anchor_grid then 0 else touching.steps_in - 1 end
    ) as counter (n)
),

periods as (
    select
        *,
        lead(cut_at) over (partition by subscription_item_id, gap_start order by cut_at) as next_cut_at
    from cuts
)

select
    subscription_item_id,
    greatest(gap_start, cut_at) as period_start,
    case when is_open_ended then next_cut_at else least(gap_end, next_cut_at) end as period_end,
    cut_at as grid_start,
    next_cut_at as grid_end
from periods
where next_cut_at > gap_start and cut_at < gap_end
