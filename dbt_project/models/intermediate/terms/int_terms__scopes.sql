-- One row per subscription and billing period, with the plan it is on: that of its base licence in force at the
-- period's start, or of the usage item when nothing else is licensed.
with scopes as (
    select distinct
        subscription_id,
        customer_id,
        currency,
        currency_exponent,
        rounding_unit,
        period_start,
        period_end,
        phase
    from {{ ref('int_terms__item_period_prices') }}
),

listed_plans as (
    select distinct plan_key from {{ ref('int_terms__list_prices') }}
),

candidates as (
    select
        scopes.subscription_id,
        scopes.period_start,
        scopes.period_end,
        prices.item_period_id,
        prices.plan_key,
        prices.price_id,
        prices.price_created_at,
        prices.usage_type,
        row_number() over (
            partition by scopes.subscription_id, scopes.period_start, scopes.period_end
            order by
                prices.usage_type = 'licensed' desc,
                prices.added_at is not null,
                listed_plans.plan_key is not null desc,
                prices.period_start desc,
                -- A tiered licence has no unit amount to compare by: it is the plan, not the add-on beside it.
                prices.unit_amount_decimal desc nulls first,
                prices.item_period_id
        ) as choice
    from scopes
    inner join {{ ref('int_terms__item_period_prices') }} as prices
        on
            scopes.subscription_id = prices.subscription_id
            and scopes.period_start >= prices.period_start
            and scopes.period_start < prices.natural_end
    left join listed_plans on prices.plan_key = listed_plans.plan_key
)

select
    scopes.*,
    scopes.subscription_id || '|' || extract(epoch from scopes.period_start)::bigint
    || '|' || extract(epoch from scopes.period_end)::bigint as scope_id,
    candidates.item_period_id as base_item_period_id,
    candidates.plan_key,
    candidates.price_id as base_price_id,
    candidates.price_created_at as base_price_created_at,
    candidates.usage_type = 'licensed' as has_licence
from scopes
inner join candidates
    on
        scopes.subscription_id = candidates.subscription_id
        and scopes.period_start = candidates.period_start
        and scopes.period_end = candidates.period_end
        and candidates.choice = 1
