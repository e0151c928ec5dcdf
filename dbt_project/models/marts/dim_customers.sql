-- Customers with plan, monthly recurring revenue as billed, health and lifetime value, for context and order.
select
    customers.customer_id,
    customers.name,
    customers.email,
    customers.plan,
    customers.currency,
    customers.mrr,
    customers.health_score,
    customers.churn_risk,
    customers.owner_email,
    customers.lifetime_value,
    customers.first_invoiced_at,
    customers.has_live_subscription,
    -- Whole months since the customer's first subscription, else since Stripe made the customer.
    (
        extract(year from age(settings.as_of, customers.customer_since)) * 12
        + extract(month from age(settings.as_of, customers.customer_since))
    )::int as tenure_months,
    customers.created_at,
    customers.is_deleted
from {{ ref('int_accounts__customers') }} as customers
cross join {{ ref('stg_business__audit_settings') }} as settings
