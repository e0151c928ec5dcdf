-- Which subscription pays for which account: the one whose metadata names the account, else of the same customer the
-- one on the account's plan, a live one first, the newest last.
with present as (
    select * from {{ ref('int_accounts__states') }}
    where replaced_at is null
),

plans as (
    select distinct on (items.subscription_id)
        items.subscription_id,
        price_plans.plan_key
    from {{ ref('int_periods__items') }} as items
    inner join {{ ref('int_terms__price_plans') }} as price_plans on items.price_id = price_plans.price_id
    order by
        items.subscription_id, items.usage_type = 'licensed' desc, items.is_removed,
        price_plans.unit_amount_decimal desc nulls last, items.subscription_item_id
)

select distinct on (present.account_id)
    present.account_id,
    present.customer_id,
    subscriptions.subscription_id,
    subscriptions.status in ('active', 'trialing', 'past_due', 'unpaid', 'paused') as is_live,
    count(*) over (partition by present.account_id) as candidate_count
from present
inner join {{ ref('stg_stripe__subscriptions') }} as subscriptions
    on present.customer_id = subscriptions.customer_id
inner join {{ ref('int_periods__customers_in_scope') }} as scope on subscriptions.customer_id = scope.customer_id
left join plans on subscriptions.subscription_id = plans.subscription_id
where subscriptions.status not in ('incomplete', 'incomplete_expired')
order by
    present.account_id,
    coalesce(subscriptions.account_id = present.account_id, false) desc,
    subscriptions.status in ('active', 'trialing', 'past_due', 'unpaid', 'paused') desc,
    coalesce(plans.plan_key = present.plan_key, false) desc,
    subscriptions.created_at desc,
    subscriptions.subscription_id
