-- For each run of usage gaps and each source: the window in which the source's missing usage begins, had it caused the
-- gap. Counted back from the end of the run's first period, it is the first window that the gap still reaches into: the
-- change-point, exact to the window. Source '*' is all usage together. One row per run and source.
with windows as (
    select
        runs.run_id,
        runs.gap_quantity,
        named.source,
        windows.window_start,
        sum(case runs.formula when 'count' then windows.event_count else windows.quantity_sum end) as quantity
    from {{ ref('int_usage__gap_runs') }} as runs
    inner join {{ ref('int_terms__metered_charges') }} as charges on runs.charge_id = charges.charge_id
    inner join {{ ref('int_terms__item_period_prices') }} as prices on charges.item_period_id = prices.item_period_id
    inner join {{ ref('int_usage__meter_windows') }} as windows
        on
            runs.customer_id = windows.customer_id
            and runs.stripe_event_name = windows.stripe_event_name
            and greatest(prices.period_start, coalesce(prices.trial_ended_at, prices.period_start))
            <= windows.window_start
            and prices.period_end > windows.window_start
    cross join lateral (values (windows.source), ('*')) as named (source)
    where runs.is_first and runs.formula != 'last' and named.source != ''
    group by runs.run_id, runs.gap_quantity, named.source, windows.window_start
),

counted_back as (
    select
        *,
        sum(quantity) over (partition by run_id, source order by window_start desc) as quantity_since,
        sum(quantity) over (partition by run_id, source) as quantity_in_period
    from windows
    where quantity > 0
)

select
    run_id,
    source,
    -- A thousandth of the gap is left to usage that got lost besides.
    coalesce(
        max(window_start) filter (where quantity_since >= gap_quantity * 0.999), min(window_start)
    ) as started_at,
    bool_or(quantity_since = gap_quantity) as is_exact,
    max(quantity_in_period) * 1.05 >= max(gap_quantity) as is_possible
from counted_back
group by run_id, source
