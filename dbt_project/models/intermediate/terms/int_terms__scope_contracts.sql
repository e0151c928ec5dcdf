-- The contract that rules each subscription and period: in force at the period's start, in the subscription's
-- currency; the one that names the subscription's plan first, then the newest. A contract that names another plan
-- rules only a customer with one subscription.
with subscription_counts as (
    select
        customer_id,
        count(distinct subscription_id) as subscription_count
    from {{ ref('int_terms__scopes') }}
    group by customer_id
),

ranked as (
    select
        scopes.scope_id,
        contracts.*,
        {{ interval_months("coalesce(contracts.billing_interval, 'month')", '1') }} as contract_months,
        coalesce(contracts.plan_key = scopes.plan_key, false) as names_plan,
        count(*) over (partition by scopes.scope_id) as contracts_in_force,
        row_number() over (
            partition by scopes.scope_id
            order by
                coalesce(contracts.plan_key = scopes.plan_key, false) desc,
                contracts.effective_from desc,
                contracts.contract_id
        ) as choice
    from {{ ref('int_terms__scopes') }} as scopes
    inner join subscription_counts on scopes.customer_id = subscription_counts.customer_id
    inner join {{ ref('stg_business__contracts') }} as contracts
        on
            scopes.customer_id = contracts.customer_id
            and scopes.period_start >= contracts.effective_from
            and (contracts.effective_until is null or scopes.period_start < contracts.effective_until)
            and coalesce(contracts.currency, scopes.currency) = scopes.currency
    where
        contracts.plan_key is null
        or contracts.plan_key = scopes.plan_key
        or subscription_counts.subscription_count = 1
)

select
    scope_id,
    contract_id,
    plan_key,
    base_price,
    contract_months,
    billing_interval,
    grace_percent,
    discount_percent,
    discount_reason,
    threshold_meter,
    threshold_min,
    minimum_commitment,
    is_grandfathered,
    effective_date,
    end_date,
    names_plan,
    contracts_in_force
from ranked
where choice = 1
