-- Stripe customers that share an e-mail, trimmed and without regard to case: two records of one customer, or an agency.
with known as (
    select
        customers.customer_id,
        lower(trim(customers.email)) as email_key,
        coalesce(bool_or(states.is_live), false) as has_live_subscription
    from {{ ref('stg_stripe__customers') }} as customers
    left join {{ ref('int_accounts__billing_states') }} as states on customers.customer_id = states.customer_id
    where not coalesce(customers.is_deleted, false) and trim(customers.email) != ''
    group by customers.customer_id, lower(trim(customers.email))
),

counted as (
    select
        *,
        count(*) over (partition by email_key) as customer_count
    from known
)

select
    customer_id,
    email_key,
    has_live_subscription,
    customer_count
from counted
where customer_count > 1
