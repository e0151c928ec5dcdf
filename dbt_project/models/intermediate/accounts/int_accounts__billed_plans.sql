-- Every plan that is billed for an account in a period, beside the subscription's own: by a change inside the period,
-- by the item as it is now (open), by another item, and by another live subscription that could pay for the account.
with plans as (
    select
        states.scope_id,
        states.account_id,
        price_plans.plan_key
    from {{ ref('int_accounts__period_states') }} as states
    inner join {{ ref('int_terms__scopes') }} as scopes on states.scope_id = scopes.scope_id
    inner join {{ ref('int_accounts__candidates') }} as candidates
        on states.account_id = candidates.account_id and candidates.is_started
    inner join {{ ref('int_terms__item_period_prices') }} as prices
        on
            candidates.subscription_id = prices.subscription_id
            and prices.usage_type = 'licensed'
            and scopes.period_end > prices.period_start
            and scopes.period_start < prices.period_end
    inner join {{ ref('int_terms__price_plans') }} as price_plans on prices.price_id = price_plans.price_id
    union
    select
        states.scope_id,
        states.account_id,
        price_plans.plan_key
    from {{ ref('int_accounts__period_states') }} as states
    inner join {{ ref('int_terms__scopes') }} as scopes on states.scope_id = scopes.scope_id
    inner join {{ ref('int_accounts__candidates') }} as candidates
        on states.account_id = candidates.account_id and candidates.is_started
    inner join {{ ref('int_periods__items') }} as items
        on candidates.subscription_id = items.subscription_id and items.usage_type = 'licensed' and not items.is_removed
    inner join {{ ref('int_terms__price_plans') }} as price_plans on items.price_id = price_plans.price_id
    where scopes.phase = 'open' and candidates.is_live
    union
    select
        states.scope_id,
        states.account_id,
        price_plans.plan_key
    from {{ ref('int_accounts__period_states') }} as states
    inner join {{ ref('int_terms__scopes') }} as scopes on states.scope_id = scopes.scope_id
    inner join {{ ref('int_billed__lines') }} as lines
        on
            scopes.subscription_id = lines.subscription_id
            and lines.is_proration
            and lines.gross_amount > 0
            and scopes.period_start <= lines.line_start
            and scopes.period_end > lines.line_start
    inner join {{ ref('int_terms__price_plans') }} as price_plans on lines.price_id = price_plans.price_id
)

select
    scope_id,
    account_id,
    array_agg(plan_key order by plan_key) as plan_keys
from plans
where plan_key is not null
group by scope_id, account_id
