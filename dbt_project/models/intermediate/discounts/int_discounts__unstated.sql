-- What no invoice states a discount of, with the instant at which its invoice is made: periods without a line, or with
-- lines of nothing, and usage of a meter that the subscription has no item for. Of time before a backdated subscription
-- was made, the first invoice is that of its making.
select
    prices.item_period_id,
    prices.item_period_id as owner_item_period_id,
    prices.subscription_id,
    prices.subscription_item_id,
    prices.customer_id,
    prices.currency,
    prices.product_id,
    billed.item_period_id is not null as has_line,
    greatest(
        case when prices.usage_type = 'metered' then prices.period_end else prices.period_start end,
        subscriptions.created_at
    ) as invoiced_at
from {{ ref('int_terms__item_period_prices') }} as prices
inner join {{ ref('stg_stripe__subscriptions') }} as subscriptions
    on prices.subscription_id = subscriptions.subscription_id
left join {{ ref('int_billed__periods') }} as billed on prices.item_period_id = billed.item_period_id
where billed.item_period_id is null or billed.gross_amount = 0
union all
select
    charges.charge_id as item_period_id,
    prices.item_period_id as owner_item_period_id,
    prices.subscription_id,
    '' as subscription_item_id,
    prices.customer_id,
    prices.currency,
    null as product_id,
    false as has_line,
    greatest(prices.period_end, subscriptions.created_at) as invoiced_at
from {{ ref('int_terms__metered_charges') }} as charges
inner join {{ ref('int_terms__item_period_prices') }} as prices on charges.item_period_id = prices.item_period_id
inner join {{ ref('stg_stripe__subscriptions') }} as subscriptions
    on prices.subscription_id = subscriptions.subscription_id
where not charges.is_metered_at_stripe
