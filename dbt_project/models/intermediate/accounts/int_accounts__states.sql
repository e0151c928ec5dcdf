-- Account snapshots with the span in which each holds: from updated_at to the next snapshot, or to the load whose file
-- no longer named the account (billing model 7.6). plan_since and access_since tell since when the snapshots agree.
with dated as (
    select
        accounts.*,
        accounts.has_access and accounts.status in ('active', 'past_due') as is_served,
        case when accounts.gone_since <= settings.as_of then accounts.gone_since end as known_gone_since
    from {{ ref('stg_business__accounts') }} as accounts
    cross join {{ ref('stg_business__audit_settings') }} as settings
    where accounts.updated_at <= settings.as_of
),

followed as (
    select
        *,
        lead(updated_at) over history as next_at,
        row_number() over history = 1 as is_first,
        lag(plan_key) over history as earlier_plan_key,
        lag(has_access) over history as earlier_access,
        lag(is_served) over history as earlier_service
    from dated
    window history as (partition by account_id order by updated_at)
),

runs as (
    select
        *,
        count(*) filter (where is_first or (earlier_plan_key is distinct from plan_key)) over history as plan_run,
        count(*) filter (where is_first or (earlier_access is distinct from has_access)) over history as access_run,
        count(*) filter (where is_first or (earlier_service is distinct from is_served)) over history as service_run
    from followed
    window history as (partition by account_id order by updated_at)
)

select
    account_id,
    customer_id,
    plan_key,
    status,
    has_access,
    is_served,
    seats,
    features,
    health_score,
    churn_risk,
    owner_email,
    updated_at,
    -- Nothing is known of an account from the load on that no longer names it.
    least(
        next_at, case when known_gone_since is not null then greatest(known_gone_since, updated_at) end
    ) as replaced_at,
    next_at is null as is_newest,
    known_gone_since as gone_since,
    min(updated_at) over (partition by account_id, plan_run) as plan_since,
    min(updated_at) over (partition by account_id, access_run) as access_since,
    min(updated_at) over (partition by account_id, service_run) as served_since,
    plan_run > 1 as has_earlier_plan,
    access_run > 1 as has_earlier_access
from runs
