-- How far the usage of each running period is towards the quantity included in it, and when it crosses it: linear over
-- the period so far. A free first tier of Stripe's own price includes its quantity. One row per charge with a limit.
with limits as (
    select
        terms.charge_id,
        terms.customer_id,
        terms.subscription_id,
        terms.stripe_event_name,
        coalesce(quantities.meter, terms.term_meter, terms.stripe_event_name) as meter,
        terms.period_start,
        terms.period_end,
        terms.phase,
        terms.currency,
        terms.currency_exponent,
        terms.interval_months,
        terms.plan_key,
        terms.formula,
        terms.authority,
        coalesce(terms.expected_rate_id, terms.stripe_rate_id) as rate_id,
        case when terms.authority = 'stripe' then coalesce(free_tiers.free_quantity, 0) else terms.included_quantity end
            as included_quantity,
        quantities.true_quantity,
        greatest(prices.period_start, coalesce(prices.trial_ended_at, prices.period_start)) as usage_start,
        least(prices.as_of, prices.period_end) as usage_end
    from {{ ref('int_terms__metered_terms') }} as terms
    inner join {{ ref('int_usage__metered_quantities') }} as quantities on terms.charge_id = quantities.charge_id
    inner join {{ ref('int_terms__item_period_prices') }} as prices on terms.item_period_id = prices.item_period_id
    left join {{ ref('int_usage__free_quantities') }} as free_tiers on terms.stripe_rate_id = free_tiers.rate_id
    where quantities.is_covered_by_log
)

select
    charge_id || '|limit' as usage_id,
    *,
    true_quantity * 100 / included_quantity as used_percent,
    -- A value that only replaces the last one is no sum that grows with time.
    case
        when formula = 'last' or usage_end <= usage_start then true_quantity
        else round(
            true_quantity * extract(epoch from period_end - usage_start)
            / extract(epoch from usage_end - usage_start), 6
        )
    end as projected_quantity,
    case
        when formula != 'last' and true_quantity > 0 and usage_end > usage_start
            then usage_start + (usage_end - usage_start) * (included_quantity / true_quantity)::double precision
    end as crosses_at
from limits
where included_quantity > 0
