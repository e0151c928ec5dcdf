-- Which subscription pays for which account: of those that could, a live one first, then the one whose metadata names
-- the account, then one on the account's plan, then the newest; of ended ones the last to end.
with counted as (
    select
        *,
        -- A trial that is over and was never billed pays for nothing.
        is_live and billing_state != 'trial_over' as is_paying,
        count(*) filter (where is_live) over (partition by account_id) as live_count,
        count(*) over (partition by account_id) as all_count
    from {{ ref('int_accounts__candidates') }}
    where is_started and may_pay
)

select distinct on (account_id)
    account_id,
    customer_id,
    subscription_id,
    is_live,
    -- One that names the account is meant beyond doubt, and so is the only live one.
    case when claim = 'named' then 1 when is_live then live_count else all_count end as candidate_count
from counted
order by
    account_id,
    is_paying desc,
    claim = 'named' desc,
    coalesce(plan_key = account_plan_key, false) desc,
    ended_at desc nulls first,
    created_at desc,
    subscription_id
