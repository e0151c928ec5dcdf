-- Features enabled beyond the plan: the list price of the cheapest plan that has them all, less the plan's own.
with enabled as (
    select
        scopes.scope_id,
        scopes.customer_id,
        scopes.subscription_id,
        scopes.period_start,
        scopes.period_end,
        scopes.phase,
        scopes.currency,
        scopes.currency_exponent,
        states.account_id,
        states.features,
        states.updated_at,
        links.candidate_count,
        plans.billing_interval,
        plans.interval_count,
        plans.interval_months,
        coalesce(contracts.plan_key, scopes.plan_key) as plan_key
    from {{ ref('int_terms__scopes') }} as scopes
    inner join {{ ref('int_terms__item_period_prices') }} as base
        on scopes.base_item_period_id = base.item_period_id and scopes.period_start = base.period_start
    inner join {{ ref('int_terms__price_plans') }} as plans on scopes.base_price_id = plans.price_id
    inner join {{ ref('int_accounts__subscriptions') }} as links on scopes.subscription_id = links.subscription_id
    left join {{ ref('int_terms__scope_contracts') }} as contracts on scopes.scope_id = contracts.scope_id
    cross join {{ ref('stg_business__audit_settings') }} as settings
    inner join {{ ref('int_accounts__states') }} as states
        on
            links.account_id = states.account_id
            and states.updated_at <= case when scopes.phase = 'open' then settings.as_of else scopes.period_start end
            and coalesce(states.replaced_at, 'infinity')
            > case when scopes.phase = 'open' then settings.as_of else scopes.period_start end
    where states.has_access and jsonb_array_length(coalesce(states.features, '[]')) > 0
),

listed as (
    select
        enabled.*,
        list.base_price as plan_price,
        list.features as plan_features,
        list.billing_interval as list_interval,
        coalesce(enabled.interval_months / list.interval_months, 1) as factor
    from enabled
    inner join {{ ref('int_terms__list_prices') }} as list
        on
            enabled.plan_key = list.plan_key
            and enabled.currency = list.currency
            and list.billing_interval in (enabled.billing_interval, 'month')
            and enabled.period_start >= list.effective_from
            and (list.effective_until is null or enabled.period_start < list.effective_until)
    where not list.features @> enabled.features
),

own_interval_first as (
    select distinct on (scope_id, account_id) *
    from listed
    order by scope_id, account_id, list_interval = billing_interval desc
),

cheapest as (
    select distinct on (own.scope_id, own.account_id)
        own.*,
        covering.plan_name as covering_plan,
        covering.base_price as covering_price
    from own_interval_first as own
    inner join {{ ref('int_terms__list_prices') }} as covering
        on
            own.currency = covering.currency
            and own.list_interval = covering.billing_interval
            and own.period_start >= covering.effective_from
            and (covering.effective_until is null or own.period_start < covering.effective_until)
            and covering.features @> own.features
            and own.plan_price < covering.base_price
    order by own.scope_id, own.account_id, covering.base_price, covering.plan_key
)

select distinct on (scope_id)
    customer_id,
    subscription_id,
    'feature_leakage' as leakage_type,
    'leak' as direction,
    null::text as meter,
    period_start,
    period_end,
    phase,
    currency,
    round((covering_price - plan_price) * factor, currency_exponent) as leakage_amount,
    interval_months::numeric as months,
    plan_key as cause,
    null::text as reason,
    array_remove(array[
        case when phase = 'open' then 'period_open' end,
        case when candidate_count > 1 then 'account_ambiguous' end
    ], null) as doubts,
    'Account ' || account_id || ' has ' || features::text || ' on plan ' || plan_key || ' (' || plan_price::text
    || '); the cheapest plan with all of them is ' || covering_plan || ' (' || covering_price::text || ' '
    || upper(currency) || ').' as description,
    jsonb_build_object(
        'account_id', account_id,
        'account_updated_at', updated_at,
        'features_enabled', features,
        'features_of_plan', plan_features,
        'plan', plan_key,
        'plan_price', plan_price,
        'covering_plan', covering_plan,
        'covering_plan_price', covering_price,
        'intervals', factor
    ) as evidence
from cheapest
order by scope_id, covering_price desc, account_id
