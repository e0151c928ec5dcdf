-- Periods of a subscription and meter in a row whose usage gap is worth publishing and has the same sign: one leak from
-- its beginning to its end. A period without usage says nothing and breaks no run. One row per charge with such a gap.
with charges as (
    select
        terms.charge_id,
        terms.customer_id,
        terms.subscription_id,
        terms.stripe_event_name,
        terms.formula,
        terms.period_start,
        terms.period_end,
        terms.phase,
        coalesce(gaps.is_published, false) as has_gap,
        sign(quantities.true_quantity - quantities.metered_quantity) as gap_sign,
        gaps.gap_quantity,
        gaps.cause_source,
        -- A gap that is too small to publish yet may be the same leak at its beginning.
        terms.phase = 'closed'
        or (
            quantities.is_summary_known
            and coalesce(gaps.gap_quantity, 0) * 100 <= settings.usage_tolerance_pct * quantities.metered_quantity
        ) as is_settled
    from {{ ref('int_terms__metered_terms') }} as terms
    inner join {{ ref('int_usage__metered_quantities') }} as quantities on terms.charge_id = quantities.charge_id
    left join {{ ref('int_usage__gaps') }} as gaps on terms.charge_id = gaps.charge_id
    cross join {{ ref('stg_business__audit_settings') }} as settings
    where
        terms.is_metered_at_stripe
        and quantities.is_covered_by_log
        and (quantities.true_quantity > 0 or quantities.metered_quantity > 0)
),

numbered as (
    select
        *,
        count(*) filter (where not (has_gap and gap_sign > 0) and is_settled) over earlier as breaks_of_lost,
        count(*) filter (where not (has_gap and gap_sign < 0) and is_settled) over earlier as breaks_of_excess
    from charges
    window earlier as (partition by subscription_id, stripe_event_name order by period_start, charge_id)
),

runs as (
    select
        *,
        subscription_id || '|' || stripe_event_name || '|'
        || case when gap_sign > 0 then 'lost|' || breaks_of_lost else 'excess|' || breaks_of_excess end as run_id,
        -- Whether nothing sound follows: the leak still runs.
        case
            when gap_sign > 0 then breaks_of_lost = max(breaks_of_lost) over meter
            else breaks_of_excess = max(breaks_of_excess) over meter
        end as is_running
    from numbered
    window meter as (partition by subscription_id, stripe_event_name)
)

select
    charge_id,
    run_id,
    customer_id,
    subscription_id,
    stripe_event_name,
    formula,
    gap_sign,
    period_start,
    period_end,
    phase,
    gap_quantity,
    cause_source,
    is_running,
    row_number() over (partition by run_id order by period_start, charge_id) = 1 as is_first,
    count(*) over (partition by run_id) as charges_in_run
from runs
where has_gap
