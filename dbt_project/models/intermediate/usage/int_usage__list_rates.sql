-- Every list rate of a meter, with the span in which it holds: rates of the price book, and active metered prices at
-- Stripe. From these usage that no authority prices is estimated (billing model, section 4). A price that only
-- customers with an agreed rate of their own are on is a deal, not a list price.
with agreed as (
    select distinct
        contracts.customer_id,
        terms.stripe_event_name
    from {{ of_all_customers(ref('stg_business__contracts'), 'raw_business', 'contracts') }} as contracts
    inner join {{ all_meter_terms() }} as terms
        on terms.term_kind = 'contract' and contracts.contract_id = terms.term_id
    where terms.rate_id is not null
),

deal_prices as (
    select items.price_id
    from
        {{ of_all_customers(ref('stg_stripe__subscription_items'), 'raw_stripe', 'subscription_items') }} as items
    inner join {{ of_all_customers(ref('stg_stripe__subscriptions'), 'raw_stripe', 'subscriptions') }} as subscriptions
        on items.subscription_id = subscriptions.subscription_id
    inner join {{ ref('stg_stripe__prices') }} as prices on items.price_id = prices.price_id
    inner join {{ ref('stg_stripe__meters') }} as meters on prices.meter_id = meters.meter_id
    left join agreed
        on subscriptions.customer_id = agreed.customer_id and meters.event_name = agreed.stripe_event_name
    group by items.price_id
    having bool_and(agreed.customer_id is not null)
)

select
    terms.stripe_event_name,
    list.currency,
    terms.rate_id,
    list.plan_key as rate_owner,
    list.effective_from as valid_from,
    list.effective_until as valid_until
from {{ ref('int_terms__meter_terms') }} as terms
inner join {{ ref('int_terms__list_prices') }} as list
    on terms.term_kind = 'price_book' and terms.term_id = list.price_book_id
where terms.rate_id is not null
union all
select
    meters.event_name as stripe_event_name,
    options.currency,
    'price:' || prices.price_id || ':' || options.currency as rate_id,
    prices.price_id as rate_owner,
    null as valid_from,
    null as valid_until
from {{ ref('stg_stripe__prices') }} as prices
inner join {{ ref('stg_stripe__price_currency_options') }} as options on prices.price_id = options.price_id
inner join {{ ref('stg_stripe__meters') }} as meters on prices.meter_id = meters.meter_id
left join deal_prices on prices.price_id = deal_prices.price_id
where prices.usage_type = 'metered' and prices.is_active and deal_prices.price_id is null
