-- The state of every account in each period of the subscription that pays for it: the snapshot in force at the start
-- of a closed period, and now for the open one (billing model 7.6).
select
    scopes.scope_id,
    states.account_id,
    links.candidate_count,
    states.plan_key,
    states.status,
    states.has_access,
    states.seats,
    states.features,
    states.updated_at,
    states.plan_since,
    states.access_since,
    states.has_earlier_plan,
    states.has_earlier_access,
    -- The period of the base licence itself: usage billed by the month beside a yearly licence has periods of its own.
    coalesce(
        base.period_start = scopes.period_start and base.period_end = scopes.period_end, false
    ) as is_base_period
from {{ ref('int_terms__scopes') }} as scopes
inner join {{ ref('int_accounts__subscriptions') }} as links on scopes.subscription_id = links.subscription_id
cross join {{ ref('stg_business__audit_settings') }} as settings
inner join {{ ref('int_accounts__states') }} as states
    on
        links.account_id = states.account_id
        -- A period that is over and only waits to be final knows nothing of what came after it.
        and states.updated_at
        <= case when scopes.phase = 'open' then least(settings.as_of, scopes.period_end) else scopes.period_start end
        and coalesce(states.replaced_at, 'infinity')
        > case when scopes.phase = 'open' then least(settings.as_of, scopes.period_end) else scopes.period_start end
left join {{ ref('int_terms__item_period_prices') }} as base on scopes.base_item_period_id = base.item_period_id
