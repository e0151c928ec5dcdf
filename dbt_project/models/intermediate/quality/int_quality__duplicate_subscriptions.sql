-- Live subscriptions of one customer to the same product in the same interval, unless each names an account of its own.
select
    items.customer_id,
    plans.product_id,
    plans.billing_interval,
    plans.interval_count,
    count(distinct items.subscription_id) as subscription_count,
    array_agg(distinct items.subscription_id) as subscription_ids
from {{ ref('int_periods__items') }} as items
inner join {{ ref('int_terms__price_plans') }} as plans on items.price_id = plans.price_id
inner join {{ ref('int_accounts__billing_states') }} as states on items.subscription_id = states.subscription_id
inner join {{ ref('stg_stripe__subscriptions') }} as subscriptions
    on items.subscription_id = subscriptions.subscription_id
where items.usage_type = 'licensed' and not items.is_removed and states.is_live and not states.is_leaving
group by items.customer_id, plans.product_id, plans.billing_interval, plans.interval_count
having
    count(distinct items.subscription_id) > 1
    and count(distinct subscriptions.account_id) < count(distinct items.subscription_id)
