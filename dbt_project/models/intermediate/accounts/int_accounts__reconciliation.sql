-- The product against Stripe at as_of: one row per account and subscription that could pay for it, and one per account
-- or subscription that stands alone. verdict is what rules 8.1 to 8.10 say of the pair; leakage_type names the finding
-- that looks closer at it, by period, policy and price.
with accounts as (
    select
        account_id,
        customer_id,
        plan_key,
        status,
        replaced_at is not null as is_gone,
        has_access and replaced_at is null as has_access,
        updated_at
    from {{ ref('int_accounts__states') }}
    where is_newest
),

pairs as (
    select
        account_id,
        subscription_id,
        claim,
        bool_or(is_started or status = 'incomplete') over (partition by account_id) as has_begun
    from {{ ref('int_accounts__candidates') }}
    where may_pay
),

sides as (
    select
        accounts.account_id,
        pairs.subscription_id,
        pairs.claim,
        pairs.has_begun
    from accounts
    left join pairs on accounts.account_id = pairs.account_id
    union all
    select
        null as account_id,
        states.subscription_id,
        null as claim,
        null as has_begun
    from {{ ref('int_accounts__billing_states') }} as states
    left join pairs on states.subscription_id = pairs.subscription_id
    where pairs.subscription_id is null
),

plan_gaps as (
    select distinct on (subscription_id)
        subscription_id,
        billed_plan_key,
        gap
    from {{ ref('int_accounts__plan_gaps') }}
    where phase = 'open'
    order by subscription_id, abs(gap) desc, scope_id
),

compared as (
    select
        coalesce(sides.account_id, '') || '|' || coalesce(sides.subscription_id, '') as reconciliation_id,
        sides.account_id,
        sides.subscription_id,
        coalesce(states.customer_id, accounts.customer_id) as customer_id,
        sides.claim,
        links.account_id is not null as is_payer,
        coalesce(sides.has_begun, false) as has_begun,
        accounts.status as product_status,
        accounts.has_access,
        coalesce(accounts.is_gone, false) as is_gone,
        accounts.updated_at as account_updated_at,
        states.status as stripe_status,
        states.billing_state,
        coalesce(states.is_live, false) as is_live,
        states.trial_ended_at,
        states.ended_at,
        accounts.plan_key as product_plan_key,
        coalesce(plan_gaps.billed_plan_key, candidates.plan_key) as billed_plan_key,
        case
            when plan_gaps.gap > 0 then 'product_higher'
            when plan_gaps.gap < 0 then 'product_lower'
            when accounts.plan_key = candidates.plan_key then 'same'
        end as plan_relation
    from sides
    left join accounts on sides.account_id = accounts.account_id
    left join {{ ref('int_accounts__billing_states') }} as states on sides.subscription_id = states.subscription_id
    left join {{ ref('int_accounts__candidates') }} as candidates
        on sides.account_id = candidates.account_id and sides.subscription_id = candidates.subscription_id
    left join {{ ref('int_accounts__subscriptions') }} as links
        on sides.account_id = links.account_id and sides.subscription_id = links.subscription_id
    left join plan_gaps on sides.subscription_id = plan_gaps.subscription_id and links.account_id is not null
),

judged as (
    select
        *,
        {{ reconciliation_verdict() }} as verdict
    from compared
)

select
    *,
    case verdict
        when 'no_subscription' then 'missing_stripe_subscription'
        when 'no_account' then 'orphaned_subscription'
        when 'trial_not_converted' then 'trial_not_converted'
        when 'access_after_end' then 'access_after_cancellation'
        when 'access_while_overdue' then 'unpaid_access'
        when 'access_while_paused' then 'paused_collection'
        when 'paid_without_access' then 'missing_local_access'
        when 'product_plan_lower' then 'missing_local_access'
        when 'product_plan_higher' then 'plan_mismatch'
    end as leakage_type
from judged
