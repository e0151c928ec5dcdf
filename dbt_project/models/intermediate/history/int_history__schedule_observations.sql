-- Phases of subscription schedules that have begun: from its start on a phase's prices and quantities hold. A phase
-- names prices, not items; the item is the one known with that price, else the subscription's only licence.
with started as (
    select
        schedules.subscription_id,
        phases.price_id,
        phases.start_at,
        coalesce(phases.quantity, 1)::numeric as quantity,
        count(*) over (partition by phases.schedule_id, phases.phase_index) as licences_in_phase
    from {{ ref('stg_stripe__subscription_schedule_phases') }} as phases
    inner join {{ ref('stg_stripe__subscription_schedules') }} as schedules
        on phases.schedule_id = schedules.schedule_id
    inner join {{ ref('stg_stripe__prices') }} as prices
        on phases.price_id = prices.price_id and prices.usage_type = 'licensed'
    cross join {{ ref('stg_business__audit_settings') }} as settings
    where
        schedules.subscription_id is not null
        and phases.start_at <= settings.as_of
        -- What a schedule planned after it was let go, or called off, never happened.
        and phases.start_at < coalesce(schedules.released_at, schedules.canceled_at, 'infinity')
),

known_items as (
    select
        subscription_id,
        subscription_item_id,
        price_id
    from {{ ref('int_history__line_observations') }}
    where quantity is not null
    union
    select
        items.subscription_id,
        items.subscription_item_id,
        items.price_id
    from {{ ref('stg_stripe__subscription_items') }} as items
    inner join {{ ref('stg_stripe__prices') }} as prices
        on items.price_id = prices.price_id and prices.usage_type = 'licensed'
),

by_price as (
    select
        subscription_id,
        price_id,
        min(subscription_item_id) as subscription_item_id
    from known_items
    group by subscription_id, price_id
    having count(distinct subscription_item_id) = 1
),

sole_item as (
    select
        subscription_id,
        min(subscription_item_id) as subscription_item_id
    from known_items
    group by subscription_id
    having count(distinct subscription_item_id) = 1
)

select distinct on (subscription_item_id, observed_at)
    coalesce(
        by_price.subscription_item_id,
        case when started.licences_in_phase = 1 then sole_item.subscription_item_id end
    ) as subscription_item_id,
    started.subscription_id,
    started.start_at as observed_at,
    started.price_id,
    started.quantity
from started
left join by_price on started.subscription_id = by_price.subscription_id and started.price_id = by_price.price_id
left join sole_item on started.subscription_id = sole_item.subscription_id
where
    by_price.subscription_item_id is not null
    or (started.licences_in_phase = 1 and sole_item.subscription_item_id is not null)
order by subscription_item_id, observed_at, started.price_id
