-- For the newest closed period of each subscription on a listed plan: every dearer plan of the same currency and
-- interval, and how much of each meter would be charged for under it. One row per period, plan and meter used; plans
-- that do not price a meter in use are no option.
with newest as (
    select distinct on (scopes.subscription_id)
        scopes.*,
        lists.price_book_id,
        own.base_price as own_base_price,
        own.billing_interval,
        coalesce(base.quantity, 1) as licence_quantity
    from {{ ref('int_terms__scopes') }} as scopes
    inner join {{ ref('int_terms__scope_lists') }} as lists on scopes.scope_id = lists.scope_id
    inner join {{ ref('int_terms__list_prices') }} as own on lists.price_book_id = own.price_book_id
    inner join {{ ref('int_terms__item_period_prices') }} as base
        on scopes.base_item_period_id = base.item_period_id
    left join {{ ref('int_terms__scope_contracts') }} as contracts on scopes.scope_id = contracts.scope_id
    where
        scopes.phase = 'closed' and scopes.has_licence and contracts.scope_id is null
        and base.period_start = scopes.period_start and base.period_end = scopes.period_end
    order by scopes.subscription_id, scopes.period_start desc, scopes.period_end
),

used as (
    select
        terms.scope_id,
        terms.stripe_event_name,
        max(quantities.true_quantity) as quantity
    from {{ ref('int_terms__metered_terms') }} as terms
    inner join {{ ref('int_usage__metered_quantities') }} as quantities on terms.charge_id = quantities.charge_id
    where quantities.true_quantity > 0
    group by terms.scope_id, terms.stripe_event_name
),

options as (
    select
        newest.*,
        options.plan_key as option_plan,
        options.price_book_id as option_price_book_id,
        options.base_price as option_base_price,
        used.stripe_event_name,
        used.quantity,
        terms.rate_id,
        terms.included_quantity,
        count(*) over (partition by newest.scope_id, options.price_book_id) as meters_used,
        count(terms.stripe_event_name) over (partition by newest.scope_id, options.price_book_id) as meters_priced
    from newest
    inner join used on newest.scope_id = used.scope_id
    inner join {{ ref('int_terms__list_prices') }} as options
        on
            newest.currency = options.currency
            and newest.billing_interval = options.billing_interval
            and newest.own_base_price < options.base_price
            and newest.period_start >= options.effective_from
            and (options.effective_until is null or newest.period_start < options.effective_until)
    left join {{ ref('int_terms__meter_terms') }} as terms
        on
            terms.term_kind = 'price_book'
            and options.price_book_id = terms.term_id
            and used.stripe_event_name = terms.stripe_event_name
            and (terms.rate_id is not null or used.quantity <= terms.included_quantity)
)

select
    scope_id || '|' || option_plan || '|' || stripe_event_name as usage_id,
    scope_id,
    customer_id,
    subscription_id,
    period_start,
    period_end,
    currency,
    currency_exponent,
    plan_key,
    option_plan,
    option_price_book_id,
    option_base_price * licence_quantity as option_fee,
    stripe_event_name,
    greatest(0, quantity - coalesce(included_quantity, 0)) as quantity,
    rate_id
from options
where meters_used = meters_priced
