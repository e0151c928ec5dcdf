-- One row per meter that a subscription's period should be charged for: metered items at Stripe, and meters that only
-- the contract or the price book charges for (Stripe is not asked to meter them).
with metered_items as (
    select
        prices.item_period_id || '|usage' as charge_id,
        prices.item_period_id,
        scopes.scope_id,
        prices.stripe_event_name,
        prices.formula,
        prices.price_id,
        prices.price_created_at,
        prices.stripe_rate_id,
        prices.interval_months
    from {{ ref('int_terms__item_period_prices') }} as prices
    inner join {{ ref('int_terms__scopes') }} as scopes
        on
            prices.subscription_id = scopes.subscription_id
            and prices.period_start = scopes.period_start
            and prices.period_end = scopes.period_end
    where prices.usage_type = 'metered' and prices.stripe_event_name is not null
),

scope_meters as (
    select
        contracts.scope_id,
        terms.stripe_event_name
    from {{ ref('int_terms__scope_contracts') }} as contracts
    inner join {{ ref('int_terms__meter_terms') }} as terms
        on terms.term_kind = 'contract' and contracts.contract_id = terms.term_id
    union
    select
        lists.scope_id,
        terms.stripe_event_name
    from {{ ref('int_terms__scope_lists') }} as lists
    inner join {{ ref('int_terms__meter_terms') }} as terms
        on terms.term_kind = 'price_book' and lists.price_book_id = terms.term_id
),

unmetered as (
    select
        prices.item_period_id || '|meter:' || scope_meters.stripe_event_name as charge_id,
        prices.item_period_id,
        scopes.scope_id,
        scopes.customer_id,
        scopes.subscription_id,
        scopes.period_start,
        scopes.period_end,
        scope_meters.stripe_event_name,
        meters.formula,
        prices.interval_months,
        row_number() over (
            partition by scopes.customer_id, scope_meters.stripe_event_name, scopes.period_start
            order by scopes.subscription_id
        ) as choice
    from scope_meters
    inner join {{ ref('int_terms__scopes') }} as scopes on scope_meters.scope_id = scopes.scope_id
    inner join {{ ref('int_terms__item_period_prices') }} as prices
        on
            scopes.base_item_period_id = prices.item_period_id
            and scopes.period_start = prices.period_start
            and scopes.period_end = prices.period_end
    left join {{ ref('stg_stripe__meters') }} as meters
        on scope_meters.stripe_event_name = meters.event_name and meters.status = 'active'
    where
        scopes.has_licence
        and not exists (
            select 1 from {{ ref('int_terms__item_period_prices') }} as metered
            where
                metered.customer_id = scopes.customer_id
                and metered.usage_type = 'metered'
                and metered.stripe_event_name = scope_meters.stripe_event_name
                and metered.period_start < scopes.period_end
                and metered.period_end > scopes.period_start
        )
),

-- A customer's usage of a meter is charged once, even when several of its subscriptions price the meter.
charged_once as (
    select unmetered.*
    from unmetered
    where
        unmetered.choice = 1
        and not exists (
            select 1 from unmetered as other
            where
                other.customer_id = unmetered.customer_id
                and other.stripe_event_name = unmetered.stripe_event_name
                and other.subscription_id < unmetered.subscription_id
                and other.period_start < unmetered.period_end
                and other.period_end > unmetered.period_start
        )
)

select
    charge_id,
    item_period_id,
    scope_id,
    stripe_event_name,
    formula,
    price_id,
    price_created_at,
    stripe_rate_id,
    interval_months,
    true as is_metered_at_stripe
from metered_items
union all
select
    charge_id,
    item_period_id,
    scope_id,
    stripe_event_name,
    coalesce(formula, 'sum') as formula,
    null as price_id,
    null as price_created_at,
    null as stripe_rate_id,
    interval_months,
    false as is_metered_at_stripe
from charged_once
