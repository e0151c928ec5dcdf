-- What earlier audits and this one saw of each item: from their instant on at the latest. An older instant audited anew
-- takes no snapshot: the present state stands for it, as everywhere.
with seen as (
    select
        items.subscription_item_id,
        items.subscription_id,
        items.dbt_valid_from as observed_at,
        items.price_id,
        items.quantity
    from {{ ref('snapshot_subscription_items') }} as items
    cross join {{ ref('stg_business__audit_settings') }} as settings
    where items.dbt_valid_from < settings.as_of and {{ priced_subscriptions_only('items.subscription_id') }}
    union all
    select
        items.subscription_item_id,
        items.subscription_id,
        settings.as_of as observed_at,
        items.price_id,
        items.quantity
    from {{ ref('stg_stripe__subscription_items') }} as items
    cross join {{ ref('stg_business__audit_settings') }} as settings
)

select
    seen.subscription_item_id,
    seen.subscription_id,
    seen.observed_at,
    seen.price_id,
    case when prices.usage_type = 'licensed' then coalesce(seen.quantity, 1)::numeric end as quantity
from seen
inner join {{ ref('stg_stripe__prices') }} as prices on seen.price_id = prices.price_id
