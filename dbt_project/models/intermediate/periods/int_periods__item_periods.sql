-- The spine of the audit: one row per subscription item and billing period, the closed ones of the lookback and the
-- open one. All arithmetic hangs on these half-open bounds, to the second.
with truncated as (
    select
        items.*,
        candidates.natural_end,
        candidates.is_on_line,
        candidates.period_start,
        least(candidates.period_end, items.billed_until) as period_end,
        least(candidates.settles_at, items.billed_until) as settles_at,
        settings.as_of,
        settings.lookback_periods,
        settings.finalization_delay_hours
    from {{ ref('int_periods__candidate_periods') }} as candidates
    inner join {{ ref('int_periods__items') }} as items
        on candidates.subscription_item_id = items.subscription_item_id
    cross join {{ ref('stg_business__audit_settings') }} as settings
    where
        candidates.period_start < coalesce(items.billed_until, 'infinity')
        and candidates.period_start <= settings.as_of
),

-- A licence item added inside its siblings' period belongs to that period: its share counts from the addition.
surrounded as (
    select
        *,
        min(period_start) over (partition by subscription_id, usage_type, period_end) as surrounding_start
    from truncated
    where period_end > period_start
),

phased as (
    select
        *,
        case
            when settles_at + make_interval(hours => finalization_delay_hours) <= as_of then 'closed'
            else 'open'
        end as phase
    from (
        select
            *,
            case
                when usage_type = 'licensed' and added_at >= period_start and added_at < period_end and not is_on_line
                    then surrounding_start
                else period_start
            end as aligned_start
        from surrounded
    ) as aligned
),

ranked as (
    select
        *,
        lag(natural_end) over (partition by subscription_item_id order by aligned_start) as natural_end_before,
        row_number() over (partition by subscription_item_id, phase order by aligned_start desc) as periods_back
    from phased
)

select
    subscription_item_id || '|' || extract(epoch from aligned_start)::bigint as item_period_id,
    subscription_item_id,
    subscription_id,
    customer_id,
    status as subscription_status,
    currency,
    currency_exponent,
    rounding_unit,
    price_id as present_price_id,
    quantity as present_quantity,
    usage_type,
    meter_id,
    stripe_event_name,
    formula,
    billing_interval,
    interval_count,
    aligned_start as period_start,
    period_end,
    natural_end,
    -- When the usage of the period is invoiced: after a change of price inside it, later than this part ends.
    settles_at,
    billing_mode,
    -- The instant inside the period at which the item came to it; null when it was there from the start.
    case when added_at > aligned_start and added_at < period_end then added_at end as added_at,
    phase,
    trial_started_at,
    trial_ended_at,
    ended_at,
    as_of,
    coalesce(period_end = ended_at, false) as is_last,
    -- Time that had gone by when a backdated subscription was made.
    coalesce(usage_type = 'licensed' and aligned_start = elapsed_from, false) as is_elapsed_time,
    -- A moved anchor began this period before the one before it was over.
    coalesce(natural_end_before > aligned_start, false) as is_after_cut,
    -- Cancelled before the period's natural end: the licence is still owed in full, usage ends here (7.7).
    coalesce(ended_at < natural_end and period_end = ended_at, false) as is_cut_short
from ranked
where phase = 'open' or periods_back <= lookback_periods
