-- The percent that a contract grants in each item's period, and whether its condition is met (billing model, rules of
-- incorrect_discount). A contract without a percent is silent about discounts.
with granted as (
    select
        prices.item_period_id,
        prices.customer_id,
        prices.period_start,
        prices.period_end,
        prices.phase,
        contracts.contract_id,
        contracts.discount_percent,
        contracts.discount_reason,
        contracts.threshold_meter,
        contracts.threshold_min,
        case
            when contracts.end_date is null then coalesce(contracts.billing_interval, 'month') = 'month'
            else contracts.effective_date + interval '12 months' > contracts.end_date + interval '1 day'
        end as runs_under_a_year
    from {{ ref('int_terms__item_period_prices') }} as prices
    inner join {{ ref('int_terms__scopes') }} as scopes
        on
            prices.subscription_id = scopes.subscription_id
            and prices.period_start = scopes.period_start
            and prices.period_end = scopes.period_end
    inner join {{ ref('int_terms__scope_contracts') }} as contracts on scopes.scope_id = contracts.scope_id
    where contracts.discount_percent > 0
),

threshold_usage as (
    select
        granted.item_period_id,
        sum(windows.quantity_sum) as threshold_quantity
    from granted
    inner join {{ ref('int_usage__meter_windows') }} as windows
        on
            granted.customer_id = windows.customer_id
            and granted.threshold_meter in (windows.meter, windows.stripe_event_name)
            and granted.period_start <= windows.window_start
            and granted.period_end > windows.window_start
    group by granted.item_period_id
),

log_starts as (
    -- A threshold may name the meter as the log does, or as Stripe does.
    select
        names.name,
        min(coverage.first_event_at) as first_event_at
    from {{ ref('stg_usage__log_coverage') }} as coverage
    left join {{ ref('stg_business__meter_mappings') }} as mappings on coverage.meter = mappings.meter
    cross join lateral (values (coverage.meter), (mappings.stripe_event_name)) as names (name)
    where names.name is not null
    group by names.name
)

select
    granted.item_period_id,
    granted.contract_id,
    granted.discount_percent,
    granted.discount_reason,
    granted.threshold_meter,
    granted.threshold_min,
    coalesce(threshold_usage.threshold_quantity, 0) as threshold_quantity,
    case
        when granted.discount_reason = 'annual_commitment' and granted.runs_under_a_year
            then 'annual_commitment_not_met'
        when
            granted.discount_reason = 'volume_discount'
            and granted.threshold_min is not null
            and granted.phase = 'closed'
            -- A meter that the log never saw says nothing about the threshold.
            and log_starts.first_event_at < granted.period_end
            and coalesce(threshold_usage.threshold_quantity, 0) < granted.threshold_min
            then 'volume_threshold_not_met'
    end as unmet_reason
from granted
left join threshold_usage on granted.item_period_id = threshold_usage.item_period_id
left join log_starts on granted.threshold_meter = log_starts.name
