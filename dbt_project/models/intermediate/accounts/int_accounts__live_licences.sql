-- Plans and currencies of the licences that are billed now. One row per subscription, currency and plan.
select distinct
    items.subscription_id,
    items.customer_id,
    items.currency,
    plans.plan_key
from {{ ref('int_periods__items') }} as items
inner join {{ ref('int_terms__price_plans') }} as plans on items.price_id = plans.price_id
inner join {{ ref('int_accounts__billing_states') }} as states on items.subscription_id = states.subscription_id
where items.usage_type = 'licensed' and not items.is_removed and states.is_live
