-- Licence items that vanished without a word while exactly one other was created inside the last period they were
-- billed for: the new one took their place when it was created. Where anything was prorated then, silence about the
-- old item means that it ran to its period's end.
with spoken as (
    select
        subscription_item_id,
        subscription_id,
        max(observed_until) filter (where line_kind = 'regular') as billed_until,
        bool_or(line_kind = 'credit') as is_credited,
        (array_agg(price_id order by observed_at desc))[1] as price_id,
        max(observed_at) filter (where line_kind = 'regular') as billed_from
    from {{ ref('int_history__line_observations') }}
    where quantity is not null
    group by subscription_item_id, subscription_id
),

vanished as (
    select spoken.*
    from spoken
    inner join {{ ref('stg_stripe__subscriptions') }} as subscriptions
        on spoken.subscription_id = subscriptions.subscription_id
    cross join {{ ref('stg_business__audit_settings') }} as settings
    left join {{ ref('stg_stripe__subscription_items') }} as items
        on spoken.subscription_item_id = items.subscription_item_id
    where
        items.subscription_item_id is null
        and not spoken.is_credited
        and not exists (
            select 1 from {{ ref('int_history__event_observations') }} as events
            where events.subscription_item_id = spoken.subscription_item_id and events.quantity = 0
        )
        and (subscriptions.ended_at is null or subscriptions.ended_at > settings.as_of)
),

paired as (
    select
        vanished.subscription_item_id,
        vanished.subscription_id,
        vanished.price_id,
        items.created_at as removed_at,
        count(*) over (partition by vanished.subscription_id, items.created_at) as vanished_at_once,
        count(*) over (partition by vanished.subscription_item_id) as created_inside
    from vanished
    inner join {{ ref('stg_stripe__subscription_items') }} as items
        on
            vanished.subscription_id = items.subscription_id
            and vanished.billed_from < items.created_at
            and vanished.billed_until > items.created_at
    inner join {{ ref('stg_stripe__prices') }} as prices
        on items.price_id = prices.price_id and prices.usage_type = 'licensed'
    where not exists (
        select 1 from {{ ref('int_history__line_observations') }} as prorations
        where
            prorations.subscription_item_id = items.subscription_item_id
            and prorations.line_kind = 'debit'
    )
)

select
    subscription_item_id,
    subscription_id,
    price_id,
    removed_at
from paired
where vanished_at_once = 1 and created_inside = 1
