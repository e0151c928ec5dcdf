-- Seats in use per subscription and period, from the snapshots in force at the period's start (closed) or now (open).
select
    scopes.scope_id,
    sum(states.seats) as seats_in_use,
    array_agg(states.account_id order by states.account_id) as account_ids,
    max(states.updated_at) as updated_at
from {{ ref('int_terms__scopes') }} as scopes
inner join {{ ref('int_accounts__subscriptions') }} as links on scopes.subscription_id = links.subscription_id
cross join {{ ref('stg_business__audit_settings') }} as settings
inner join {{ ref('int_accounts__states') }} as states
    on
        links.account_id = states.account_id
        and states.updated_at <= case when scopes.phase = 'open' then settings.as_of else scopes.period_start end
        and coalesce(states.replaced_at, 'infinity')
        > case when scopes.phase = 'open' then settings.as_of else scopes.period_start end
where states.has_access and states.seats is not null
group by scopes.scope_id
