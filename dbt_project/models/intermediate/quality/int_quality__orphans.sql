-- What names somebody whom the other side does not know: accounts, contracts and exceptions of customers that Stripe
-- does not know, and live subscriptions without an account.
select
    'account' as kind,
    states.account_id as subject_id,
    states.customer_id
from {{ ref('int_accounts__states') }} as states
left join {{ ref('stg_stripe__customers') }} as customers on states.customer_id = customers.customer_id
where states.is_newest and states.replaced_at is null and states.has_access and customers.customer_id is null
union all
select
    'contract' as kind,
    contracts.contract_id as subject_id,
    contracts.customer_id
from {{ ref('stg_business__contracts') }} as contracts
left join {{ ref('stg_stripe__customers') }} as customers on contracts.customer_id = customers.customer_id
where customers.customer_id is null
union all
select
    'exception' as kind,
    exceptions.exception_id as subject_id,
    exceptions.customer_id
from {{ ref('stg_business__exceptions') }} as exceptions
left join {{ ref('stg_stripe__customers') }} as customers on exceptions.customer_id = customers.customer_id
where customers.customer_id is null
union all
select
    'subscription' as kind,
    subscription_id as subject_id,
    customer_id
from {{ ref('int_accounts__orphans') }}
