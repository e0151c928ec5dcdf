-- The terms of each usage charge, field by field: contract, else price book, else Stripe's own price (section 2).
-- A rate from Stripe rules alone: its first tier already holds whatever is included.
with found as (
    select
        charges.*,
        scopes.subscription_id,
        scopes.customer_id,
        scopes.currency,
        scopes.currency_exponent,
        scopes.rounding_unit,
        scopes.period_start,
        scopes.period_end,
        scopes.phase,
        scopes.plan_key,
        contracts.contract_id,
        contracts.grace_percent,
        lists.price_book_id,
        lists.listed_from,
        contract_terms.rate_id as contract_rate_id,
        list_terms.rate_id as list_rate_id,
        coalesce(contract_terms.meter, list_terms.meter) as term_meter,
        -- Multiplied first, then divided: 120,000 a year is 10,000 a month exactly.
        trim_scale(
            contract_terms.included_quantity * coalesce(charges.interval_months, contracts.contract_months)
            / contracts.contract_months
        ) as contract_included,
        trim_scale(
            list_terms.included_quantity * coalesce(charges.interval_months, lists.list_months) / lists.list_months
        ) as list_included
    from {{ ref('int_terms__metered_charges') }} as charges
    inner join {{ ref('int_terms__scopes') }} as scopes on charges.scope_id = scopes.scope_id
    left join {{ ref('int_terms__scope_contracts') }} as contracts on charges.scope_id = contracts.scope_id
    left join {{ ref('int_terms__meter_terms') }} as contract_terms
        on
            contract_terms.term_kind = 'contract'
            and contracts.contract_id = contract_terms.term_id
            and charges.stripe_event_name = contract_terms.stripe_event_name
    left join {{ ref('int_terms__scope_lists') }} as lists on charges.scope_id = lists.scope_id
    left join {{ ref('int_terms__meter_terms') }} as list_terms
        on
            list_terms.term_kind = 'price_book'
            and lists.price_book_id = list_terms.term_id
            and charges.stripe_event_name = list_terms.stripe_event_name
),

decided as (
    select
        *,
        case
            when contract_rate_id is not null then 'contract'
            when
                list_rate_id is not null and (price_created_at is null or price_created_at <= listed_from)
                then 'price_book'
            when is_metered_at_stripe then 'stripe'
            else 'included_only'
        end as authority
    from found
)

select
    charge_id,
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
    plan_key,
    stripe_event_name,
    term_meter,
    formula,
    is_metered_at_stripe,
    price_id,
    interval_months,
    stripe_rate_id,
    authority,
    contract_id,
    price_book_id,
    price_created_at,
    listed_from,
    case authority
        when 'contract' then contract_rate_id
        when 'price_book' then list_rate_id
        when 'stripe' then stripe_rate_id
    end as expected_rate_id,
    case when authority = 'stripe' then 0 else coalesce(contract_included, list_included, 0) end as included_quantity,
    case when authority = 'stripe' then 0 else coalesce(grace_percent, 0) end as grace_percent
from decided
