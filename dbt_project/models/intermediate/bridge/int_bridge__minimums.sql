-- Minimum commitments (billing model 7.16): what base, usage and overage net of discounts stay below the minimum of
-- the contract's own interval, for closed periods of the same length.
with totals as (
    select
        scope_id,
        sum(expected_net) as expected_net
    from {{ ref('int_bridge__charges') }}
    group by scope_id
    having not bool_or(cannot_rate)
)

select
    scopes.scope_id,
    contracts.contract_id,
    contracts.minimum_commitment,
    totals.expected_net,
    greatest(
        0,
        round(contracts.minimum_commitment * power(10::numeric, scopes.currency_exponent)) - totals.expected_net
    ) as shortfall
from {{ ref('int_terms__scopes') }} as scopes
inner join {{ ref('int_terms__scope_contracts') }} as contracts on scopes.scope_id = contracts.scope_id
inner join {{ ref('int_terms__item_period_prices') }} as base
    on
        scopes.base_item_period_id = base.item_period_id
        and scopes.period_start = base.period_start
        and scopes.period_end = base.period_end
inner join totals on scopes.scope_id = totals.scope_id
where
    contracts.minimum_commitment > 0
    and scopes.phase = 'closed'
    and base.interval_months = contracts.contract_months
    and (base.trial_ended_at is null or base.trial_ended_at < base.period_end)
