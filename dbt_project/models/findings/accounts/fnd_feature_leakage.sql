-- Features enabled beyond the plan: the list price of the cheapest plan that has them all, less the plan's own. Where
-- the product's plan is above the billed one, plan_mismatch has that part and the product's plan is the base here.
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
        states.candidate_count,
        plans.billing_interval,
        plans.interval_count,
        plans.interval_months,
        bought.plan_keys,
        coalesce(gaps.plan_key, contracts.plan_key, scopes.plan_key) as plan_key
    from {{ ref('int_accounts__period_states') }} as states
    inner join {{ ref('int_terms__scopes') }} as scopes on states.scope_id = scopes.scope_id
    inner join {{ ref('int_terms__item_period_prices') }} as base
        on scopes.base_item_period_id = base.item_period_id
    inner join {{ ref('int_terms__price_plans') }} as plans on scopes.base_price_id = plans.price_id
    left join {{ ref('int_terms__scope_contracts') }} as contracts on scopes.scope_id = contracts.scope_id
    left join {{ ref('int_accounts__plan_gaps') }} as gaps on states.scope_id = gaps.scope_id and gaps.gap > 0
    left join {{ ref('int_accounts__billed_plans') }} as bought
        on states.scope_id = bought.scope_id and states.account_id = bought.account_id
    where
        states.is_base_period
        and states.has_access
        -- In a trial, the product's or Stripe's, features may be tried for nothing.
        and states.status != 'trialing'
        and scopes.period_start >= coalesce(base.trial_ended_at, '-infinity')
        and jsonb_array_length(coalesce(states.features, '[]')) > 0
),

entitled as (
    select
        customer_id,
        array_agg(distinct feature_key) as features
    from {{ ref('stg_stripe__active_entitlements') }}
    group by customer_id
),

-- What another item or subscription buys for the account, an add-on or the rest of a plan, is no leak; nor is what
-- Stripe itself says that the customer may use beyond the plan.
wanted as (
    select
        enabled.*,
        own.base_price as plan_price,
        own.features as plan_features,
        own.list_interval,
        own.intervals as interval_factor,
        enabled.features - coalesce(bought.features, array[]::text[]) - array(
            select beyond.feature_key
            from unnest(entitled.features) as beyond (feature_key)
            where not coalesce(own.features, '[]') ? beyond.feature_key
        ) as wanted_features
    from enabled
    {{ list_price(
        'own', 'enabled.plan_key', 'enabled.currency', 'enabled.billing_interval', 'enabled.interval_count',
        'enabled.interval_months', 'enabled.period_start'
    ) }}
    left join lateral (
        select array_agg(distinct feature.name) as features
        from {{ ref('int_terms__list_prices') }} as list
        cross join lateral jsonb_array_elements_text(list.features) as feature (name)
        where
            list.plan_key = any(enabled.plan_keys)
            and list.currency = enabled.currency
            and list.effective_from <= enabled.period_start
            and (list.effective_until is null or list.effective_until > enabled.period_start)
    ) as bought on true
    left join entitled on enabled.customer_id = entitled.customer_id
    where own.price is not null
),

cheapest as (
    select distinct on (wanted.scope_id, wanted.account_id)
        wanted.*,
        covering.plan_name as covering_plan,
        covering.base_price as covering_price
    from wanted
    inner join {{ ref('int_terms__list_prices') }} as covering
        on
            wanted.currency = covering.currency
            and wanted.list_interval = covering.billing_interval
            and wanted.period_start >= covering.effective_from
            and (covering.effective_until is null or wanted.period_start < covering.effective_until)
            and covering.features @> wanted.wanted_features
            and wanted.plan_price < covering.base_price
    where not wanted.plan_features @> wanted.wanted_features
    order by wanted.scope_id, wanted.account_id, covering.base_price, covering.plan_key
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
    round((covering_price - plan_price) * interval_factor, currency_exponent) as leakage_amount,
    interval_months::numeric as months,
    plan_key as cause,
    null::text as reason,
    array_remove(array[
        case when phase = 'open' then 'period_open' end,
        case when candidate_count > 1 then 'account_ambiguous' end
    ], null) as doubts,
    'Account ' || account_id || ' has '
    || (
        select string_agg(feature.name, ', ' order by feature.name)
        from jsonb_array_elements_text(cheapest.features) as feature (name)
    )
    || ' on plan ' || plan_key || ' (' || plan_price::text
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
        'intervals', interval_factor
    ) as evidence
from cheapest
order by scope_id, covering_price desc, account_id
