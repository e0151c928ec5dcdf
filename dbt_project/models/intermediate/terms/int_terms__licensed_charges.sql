-- Licence fees with the rate that should hold for them (contract, then price book, then Stripe; billing model,
-- section 2) beside the Stripe price they were billed at.
with scoped as (
    select
        fees.*,
        prices.subscription_id,
        prices.customer_id,
        prices.currency,
        prices.currency_exponent,
        prices.rounding_unit,
        prices.period_start,
        prices.period_end,
        prices.phase,
        prices.full_seconds,
        scopes.scope_id,
        scopes.base_item_period_id = prices.item_period_id as is_base,
        fees.direction_sign < 0 and fees.price_id = prices.price_id as takes_back_fee,
        plans.plan_key,
        case
            when
                scopes.base_item_period_id = prices.item_period_id
                and (fees.charge_kind = 'fee' or (fees.direction_sign < 0 and fees.price_id = prices.price_id))
                then coalesce(contracts.plan_key, plans.plan_key)
            else plans.plan_key
        end as list_plan_key,
        contracts.contract_id,
        contracts.base_price as contract_base_price,
        contracts.plan_key as contract_plan_key,
        contracts.contract_months,
        coalesce(contracts.is_grandfathered, false) as is_grandfathered,
        plans.billing_interval,
        plans.interval_count,
        plans.interval_months,
        plans.price_created_at
    from {{ ref('int_terms__licence_fees') }} as fees
    inner join {{ ref('int_terms__item_period_prices') }} as prices on fees.item_period_id = prices.item_period_id
    inner join {{ ref('int_terms__scopes') }} as scopes
        on
            prices.subscription_id = scopes.subscription_id
            and prices.period_start = scopes.period_start
            and prices.period_end = scopes.period_end
    inner join {{ ref('int_terms__price_plans') }} as plans on fees.price_id = plans.price_id
    left join {{ ref('int_terms__scope_contracts') }} as contracts on scopes.scope_id = contracts.scope_id
),

listed as (
    select
        scoped.*,
        coalesce(same_interval.price_book_id, monthly.price_book_id) as price_book_id,
        coalesce(same_interval.base_price, monthly.base_price) as list_base_price,
        coalesce(same_interval.effective_from, monthly.effective_from) as listed_from,
        coalesce(same_interval.seats_included, monthly.seats_included) as seats_included,
        case when same_interval.price_book_id is not null then 1 else scoped.interval_months end as list_factor
    from scoped
    left join {{ ref('int_terms__list_prices') }} as same_interval
        on
            scoped.list_plan_key = same_interval.plan_key
            and scoped.currency = same_interval.currency
            and scoped.billing_interval = same_interval.billing_interval
            and scoped.interval_count = 1
            and scoped.period_start >= same_interval.effective_from
            and (same_interval.effective_until is null or scoped.period_start < same_interval.effective_until)
    left join {{ ref('int_terms__list_prices') }} as monthly
        on
            scoped.list_plan_key = monthly.plan_key
            and scoped.currency = monthly.currency
            and monthly.billing_interval = 'month'
            and scoped.interval_months is not null
            and scoped.period_start >= monthly.effective_from
            and (monthly.effective_until is null or scoped.period_start < monthly.effective_until)
),

decided as (
    select
        *,
        case
            -- The contract's price is for its own plan: a change of plan inside the period has another price. What a
            -- credit takes back is the fee at the price it should have had.
            when
                is_base
                and contract_base_price is not null
                and interval_months is not null
                and (charge_kind = 'fee' or takes_back_fee or coalesce(contract_plan_key, plan_key) = plan_key)
                then 'contract'
            when
                list_base_price is not null and not is_grandfathered and price_created_at <= listed_from
                then 'price_book'
            else 'stripe'
        end as authority
    from listed
)

select
    charge_id,
    charge_kind,
    line_id,
    change_kind,
    item_period_id,
    scope_id,
    subscription_id,
    customer_id,
    currency,
    currency_exponent,
    rounding_unit,
    period_start,
    period_end,
    phase,
    price_id,
    plan_key,
    is_base,
    quantity,
    direction_sign,
    share_seconds,
    full_seconds,
    interval_months,
    stripe_rate_id,
    authority,
    contract_id,
    price_book_id,
    seats_included,
    price_created_at,
    listed_from,
    case authority
        when 'contract' then 'contract:' || contract_id || ':base'
        when 'price_book' then 'price_book:' || price_book_id || ':base'
        else stripe_rate_id
    end as expected_rate_id,
    case authority
        when 'contract' then interval_months::numeric / contract_months
        when 'price_book' then list_factor::numeric
        else 1::numeric
    end as expected_multiplier
from decided
