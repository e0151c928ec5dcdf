-- The items of a subscription as its events state them: data.object after the event, previous_attributes before it.
-- An item that is only in the latter was removed, one that is only in the former was added.
with events as (
    select
        event_id,
        event_type,
        created_at,
        subscription_id,
        data_object,
        previous_attributes
    from {{ ref('stg_stripe__events') }}
    where
        event_type like 'customer.subscription.%'
        and object_type = 'subscription'
        -- Items stay on the object of a deleted subscription: its end is no change of an item.
        and event_type != 'customer.subscription.deleted'
),

items_after as (
    select
        events.event_id,
        item.value ->> 'id' as subscription_item_id,
        coalesce(item.value #>> '{price,id}', item.value ->> 'price') as price_id,
        (item.value ->> 'quantity')::numeric as quantity
    from events
    cross join lateral jsonb_array_elements(
        coalesce(events.data_object #> '{items,data}', '[]'::jsonb)
    ) as item (value)
),

items_before as (
    select
        events.event_id,
        item.value ->> 'id' as subscription_item_id,
        coalesce(item.value #>> '{price,id}', item.value ->> 'price') as price_id,
        (item.value ->> 'quantity')::numeric as quantity
    from events
    cross join lateral jsonb_array_elements(
        coalesce(events.previous_attributes #> '{items,data}', '[]'::jsonb)
    ) as item (value)
),

compared as (
    select
        coalesce(items_after.event_id, items_before.event_id) as event_id,
        coalesce(items_after.subscription_item_id, items_before.subscription_item_id) as subscription_item_id,
        coalesce(items_after.price_id, items_before.price_id) as price_id,
        case when items_after.subscription_item_id is null then 0 else items_after.quantity end as quantity,
        items_before.price_id as previous_price_id,
        items_before.quantity as previous_quantity,
        items_before.subscription_item_id is null as is_absent_before,
        items_after.subscription_item_id is null as is_removed
    from items_after
    full outer join items_before
        on
            items_after.event_id = items_before.event_id
            and items_after.subscription_item_id = items_before.subscription_item_id
)

select
    compared.subscription_item_id,
    events.subscription_id,
    events.created_at as observed_at,
    compared.price_id,
    case
        when compared.is_removed then 0
        when prices.usage_type = 'licensed' then coalesce(compared.quantity, 1)
    end as quantity,
    compared.previous_price_id,
    case when prices.usage_type = 'licensed' then coalesce(compared.previous_quantity, 1) end as previous_quantity,
    -- Only an event that states items before says that this one was not among them.
    compared.is_absent_before and events.previous_attributes #> '{items,data}' is not null as is_added
from compared
inner join events on compared.event_id = events.event_id
inner join {{ ref('stg_stripe__prices') }} as prices on compared.price_id = prices.price_id
where compared.subscription_item_id is not null
