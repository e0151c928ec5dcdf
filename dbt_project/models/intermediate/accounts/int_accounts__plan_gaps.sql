-- The plan that the product gives against the plan that is billed, per subscription and period, at list prices in the
-- subscription's currency and interval. One row where the two differ; gap is product less billed, in currency units.
with given as (
    select
        states.*,
        scopes.customer_id,
        scopes.subscription_id,
        scopes.period_start,
        scopes.period_end,
        scopes.phase,
        scopes.currency,
        scopes.currency_exponent,
        scopes.base_item_period_id,
        base.quantity,
        plans.billing_interval,
        plans.interval_count,
        plans.interval_months,
        contracts.contract_id,
        coalesce(contracts.plan_key, scopes.plan_key) as billed_plan_key
    from {{ ref('int_accounts__period_states') }} as states
    inner join {{ ref('int_terms__scopes') }} as scopes on states.scope_id = scopes.scope_id
    inner join {{ ref('int_terms__item_period_prices') }} as base
        on scopes.base_item_period_id = base.item_period_id
    inner join {{ ref('int_terms__price_plans') }} as plans on scopes.base_price_id = plans.price_id
    left join {{ ref('int_terms__scope_contracts') }} as contracts on scopes.scope_id = contracts.scope_id
    cross join {{ ref('stg_business__audit_settings') }} as settings
    where
        states.is_base_period
        and states.has_access
        -- In a trial, the product's or Stripe's, a higher plan may be tried for nothing.
        and states.status != 'trialing'
        and scopes.period_start >= coalesce(base.trial_ended_at, '-infinity')
        -- A price of its own without a plan is a deal about whatever the customer gets.
        and not (contracts.base_price is not null and contracts.plan_key is null)
        -- A change that Stripe may still be told of.
        and not (
            states.has_earlier_plan
            and states.plan_since > settings.as_of - make_interval(days => settings.invoice_grace_days)
        )
),

differing as (
    select given.*
    from given
    left join {{ ref('int_accounts__billed_plans') }} as billed
        on given.scope_id = billed.scope_id and given.account_id = billed.account_id
    where
        given.plan_key != given.billed_plan_key
        and not given.plan_key = any(coalesce(billed.plan_keys, array[]::text[]))
),

listed as (
    select
        differing.*,
        product.price as product_price,
        product.price_book_id as product_price_book_id,
        billed.price as billed_price,
        billed.price_book_id as billed_price_book_id,
        billed.features as billed_features,
        differing.quantity as billed_units,
        -- A plan that includes several seats is priced by the plan, one without is priced by the seat (7.2).
        case
            when product.seats_included > 1 and coalesce(billed.seats_included, 1) <= 1 then 1
            when product.seats_included = 1 and billed.seats_included > 1
                then greatest(differing.quantity, differing.seats, 1)
            else differing.quantity
        end as product_units
    from differing
    {{ list_price(
        'product', 'differing.plan_key', 'differing.currency', 'differing.billing_interval',
        'differing.interval_count', 'differing.interval_months', 'differing.period_start'
    ) }}
    {{ list_price(
        'billed', 'differing.billed_plan_key', 'differing.currency', 'differing.billing_interval',
        'differing.interval_count', 'differing.interval_months', 'differing.period_start'
    ) }}
),

-- Of several accounts on one subscription the one on the highest plan speaks; one on an unknown plan silences them.
every_account as (
    select
        states.scope_id,
        count(*) filter (where states.has_access) as account_count,
        count(listed.account_id) filter (where listed.product_price is not null) as differing_count
    from {{ ref('int_accounts__period_states') }} as states
    left join listed on states.scope_id = listed.scope_id and states.account_id = listed.account_id
    group by states.scope_id
)

select distinct on (listed.scope_id)
    listed.*,
    round(
        listed.product_price * listed.product_units - listed.billed_price * listed.billed_units,
        listed.currency_exponent
    ) as gap,
    every_account.account_count,
    every_account.account_count = every_account.differing_count as is_every_account
from listed
inner join every_account on listed.scope_id = every_account.scope_id
where listed.product_price is not null and listed.billed_price is not null
order by listed.scope_id, listed.product_price * listed.product_units desc, listed.account_id
