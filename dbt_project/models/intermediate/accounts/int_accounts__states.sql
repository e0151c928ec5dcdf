-- Account snapshots with the span in which each holds: from updated_at to the next snapshot (billing model 7.6).
select
    accounts.*,
    lead(accounts.updated_at) over (partition by accounts.account_id order by accounts.updated_at) as replaced_at
from {{ ref('stg_business__accounts') }} as accounts
cross join {{ ref('stg_business__audit_settings') }} as settings
where accounts.updated_at <= settings.as_of
