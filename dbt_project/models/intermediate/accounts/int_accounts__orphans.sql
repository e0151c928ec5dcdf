-- Live subscriptions that no account of the product stands behind (rule 8.10), and whether the accounts file is whole
-- enough to say so: at least half of the customers with a live subscription have an account.
with matched as (
    select
        subscription_id,
        customer_id,
        bool_or(verdict != 'no_account') as has_account,
        bool_or(is_gone) as had_account
    from {{ ref('int_accounts__reconciliation') }}
    where subscription_id is not null and is_live
    group by subscription_id, customer_id
),

customers as (
    select
        customer_id,
        bool_or(has_account) as has_account
    from matched
    group by customer_id
),

shares as (
    select avg(has_account::int) as share_with_account
    from customers
)

select
    matched.subscription_id,
    matched.customer_id,
    case when matched.had_account then 'account_removed' else 'no_account' end as reason,
    round(shares.share_with_account, 4) as share_with_account,
    shares.share_with_account >= 0.5 as is_judged
from matched
inner join customers on matched.customer_id = customers.customer_id
cross join shares
where not matched.has_account and not customers.has_account
