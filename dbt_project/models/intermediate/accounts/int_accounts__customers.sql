-- What is known of each customer beside the findings: plan, monthly recurring revenue as billed, health and lifetime
-- value. Null where a customer pays in several currencies, which are never added up. One row per customer.
with latest_fee as (
    select distinct on (items.subscription_item_id)
        charges.customer_id,
        charges.subscription_id,
        scopes.plan_key,
        charges.currency,
        charges.currency_exponent,
        case when charges.interval_months > 0 then charges.billed_net / charges.interval_months end as monthly_fee
    from {{ ref('int_bridge__charges') }} as charges
    inner join {{ ref('int_terms__scopes') }} as scopes on charges.scope_id = scopes.scope_id
    inner join {{ ref('int_periods__item_periods') }} as periods on charges.item_period_id = periods.item_period_id
    inner join {{ ref('int_periods__items') }} as items
        on periods.subscription_item_id = items.subscription_item_id and not items.is_removed
    inner join {{ ref('stg_stripe__subscriptions') }} as subscriptions
        on charges.subscription_id = subscriptions.subscription_id
    where charges.charge_kind = 'fee' and subscriptions.status in ('active', 'past_due', 'unpaid')
    order by items.subscription_item_id, charges.period_start desc, charges.charge_id
),

recurring as (
    select
        customer_id,
        min(plan_key) as plan,
        min(currency) as currency,
        case
            when count(distinct currency) = 1
                then {{ to_currency_units('sum(monthly_fee)', 'min(currency_exponent)') }}
        end as mrr
    from latest_fee
    group by customer_id
),

paid as (
    select
        invoices.customer_id,
        min(invoices.currency) as currency,
        case
            when count(distinct invoices.currency) = 1
                then {{ to_currency_units('sum(invoices.amount_paid)', 'coalesce(min(currencies.exponent), 2)') }}
        end as lifetime_value,
        min(invoices.created_at) as first_invoiced_at
    from {{ ref('stg_stripe__invoices') }} as invoices
    left join {{ ref('currencies') }} as currencies on invoices.currency = currencies.currency
    where invoices.status = 'paid'
    group by invoices.customer_id
),

accounts as (
    select
        customer_id,
        min(health_score) as health_score,
        max(churn_risk) as churn_risk,
        min(owner_email) as owner_email
    from {{ ref('int_accounts__states') }}
    where replaced_at is null
    group by customer_id
),

subscribed as (
    select
        customer_id,
        min(created_at) as first_subscribed_at,
        bool_or(is_live) as has_live_subscription
    from {{ ref('int_accounts__billing_states') }}
    where is_started
    group by customer_id
)

select
    customers.customer_id,
    customers.name,
    customers.email,
    recurring.plan,
    coalesce(recurring.currency, paid.currency, customers.currency) as currency,
    case when recurring.customer_id is null then 0 else recurring.mrr end as mrr,
    accounts.health_score,
    accounts.churn_risk,
    accounts.owner_email,
    case when paid.customer_id is null then 0 else paid.lifetime_value end as lifetime_value,
    paid.first_invoiced_at,
    subscribed.has_live_subscription,
    coalesce(subscribed.first_subscribed_at, customers.created_at) as customer_since,
    customers.created_at,
    customers.is_deleted
from {{ ref('stg_stripe__customers') }} as customers
left join recurring on customers.customer_id = recurring.customer_id
left join paid on customers.customer_id = paid.customer_id
left join accounts on customers.customer_id = accounts.customer_id
left join subscribed on customers.customer_id = subscribed.customer_id
