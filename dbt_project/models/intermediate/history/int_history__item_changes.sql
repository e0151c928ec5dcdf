-- Changes of a subscription item: each statement that differs from the one before it. An added item was 0 units
-- before, a removed one is 0 units after. What is taken back within the hour (a renewal told in two steps) is none.
with stepped as (
    select
        *,
        coalesce(price_id || '|' || coalesce(quantity, -1), '') as state,
        lag(price_id || '|' || coalesce(quantity, -1)) over (
            partition by subscription_item_id order by observed_at
        ) as state_before
    from {{ ref('int_history__item_observations') }}
),

runs as (
    select
        *,
        lead(state) over (partition by subscription_item_id order by observed_at) as state_after,
        lead(observed_at) over (partition by subscription_item_id order by observed_at) as next_at
    from stepped
    where state is distinct from state_before
),

lasting as (
    select
        *,
        lag(state) over (partition by subscription_item_id order by observed_at) as lasting_state_before,
        lag(price_id) over (partition by subscription_item_id order by observed_at) as price_before,
        lag(quantity) over (partition by subscription_item_id order by observed_at) as quantity_before,
        row_number() over (partition by subscription_item_id order by observed_at) = 1 as is_first
    from runs
    where
        state_before is null
        or state_after is distinct from state_before
        or next_at - observed_at >= interval '1 hour'
),

-- An item that came after its subscription was added when it was created.
additions as (
    select
        lasting.*,
        coalesce(items.created_at > subscriptions.created_at + interval '1 day', lasting.is_added) as is_addition,
        case
            when items.created_at > subscriptions.created_at + interval '1 day' then items.created_at
            else lasting.observed_at
        end as added_at
    from lasting
    inner join {{ ref('stg_stripe__subscriptions') }} as subscriptions
        on lasting.subscription_id = subscriptions.subscription_id
    left join {{ ref('stg_stripe__subscription_items') }} as items
        on lasting.subscription_item_id = items.subscription_item_id
    where lasting.is_first
)

select
    subscription_item_id,
    subscription_id,
    observed_at as changed_at,
    price_before as old_price_id,
    quantity_before as old_quantity,
    price_id as new_price_id,
    quantity as new_quantity,
    is_exact,
    source
from lasting
where not is_first and state is distinct from lasting_state_before
union all
select
    subscription_item_id,
    subscription_id,
    case when is_addition then added_at else observed_at end as changed_at,
    case when not is_addition then previous_price_id end as old_price_id,
    case when is_addition then 0 else previous_quantity end as old_quantity,
    price_id as new_price_id,
    quantity as new_quantity,
    is_exact or added_at != observed_at as is_exact,
    source
from additions
where
    is_addition
    or (previous_price_id || '|' || coalesce(previous_quantity, -1)) is distinct from state
    and previous_price_id is not null
