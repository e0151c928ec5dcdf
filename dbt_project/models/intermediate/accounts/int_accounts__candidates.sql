-- Which subscriptions could pay for which account: those of its customer, and those whose metadata names the account.
-- One that names another account of the product counts only where nothing else could pay (one subscription for
-- several accounts).
with newest as (
    select
        account_id,
        customer_id,
        plan_key
    from {{ ref('int_accounts__states') }}
    where is_newest
),

subscriptions as (
    select * from {{ ref('int_accounts__billing_states') }}
),

pairs as (
    select
        newest.account_id,
        subscriptions.subscription_id
    from newest
    inner join subscriptions on newest.customer_id = subscriptions.customer_id
    union
    select
        newest.account_id,
        subscriptions.subscription_id
    from newest
    inner join subscriptions on newest.account_id = subscriptions.account_id
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
),

claims as (
    select
        pairs.account_id,
        newest.customer_id as account_customer_id,
        newest.plan_key as account_plan_key,
        subscriptions.customer_id,
        subscriptions.subscription_id,
        subscriptions.status,
        subscriptions.billing_state,
        subscriptions.is_started,
        subscriptions.is_live,
        subscriptions.created_at,
        subscriptions.ended_at,
        plans.plan_key,
        case
            when subscriptions.account_id = pairs.account_id then 'named'
            when named.account_id is not null then 'other'
            else 'open'
        end as claim
    from pairs
    inner join newest on pairs.account_id = newest.account_id
    inner join subscriptions on pairs.subscription_id = subscriptions.subscription_id
    left join newest as named on subscriptions.account_id = named.account_id
    left join plans on pairs.subscription_id = plans.subscription_id
)

select
    account_id,
    account_customer_id,
    account_plan_key,
    customer_id,
    subscription_id,
    status,
    billing_state,
    plan_key,
    is_started,
    is_live,
    created_at,
    ended_at,
    claim,
    claim != 'other'
    or not coalesce(bool_or(claim != 'other' and is_started) over (partition by account_id), false) as may_pay
from claims
