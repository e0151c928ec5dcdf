-- Seats in use per subscription and period, from the snapshots in force at the period's start (closed) or now (open).
select
    scope_id,
    sum(seats) as seats_in_use,
    array_agg(account_id order by account_id) as account_ids,
    max(updated_at) as updated_at
from {{ ref('int_accounts__period_states') }}
where has_access and seats is not null
group by scope_id
