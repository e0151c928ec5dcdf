-- Subscriptions whose product account can be used at this moment, with the accounts that they pay for.
select
    links.subscription_id,
    jsonb_agg(states.account_id order by states.account_id) as account_ids,
    min(states.updated_at) as access_since
from {{ ref('int_accounts__subscriptions') }} as links
inner join {{ ref('int_accounts__states') }} as states
    on links.account_id = states.account_id and states.replaced_at is null and states.has_access
group by links.subscription_id
