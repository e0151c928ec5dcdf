-- Spans in which a subscription's collection was paused (behavior void, keep_as_draft or mark_uncollectible) or the
-- subscription itself (behavior paused: no invoices at all). From events to the second; else from what audits saw,
-- where a pause that the first statement knows began at some time before it.
with stated as (
    select
        subscription_id,
        created_at as observed_at,
        case
            when data_object ->> 'status' = 'paused' then 'paused'
            else data_object #>> '{pause_collection,behavior}'
        end as behavior,
        case
            when previous_attributes ->> 'status' = 'paused' or event_type like '%.resumed' then 'paused'
            else previous_attributes #>> '{pause_collection,behavior}'
        end as behavior_before,
        -- An event of the pause itself lists nothing of before; its name says it.
        coalesce(previous_attributes ?| array['pause_collection', 'status'], false)
        or event_type like '%.paused' or event_type like '%.resumed' as states_before,
        1 as precedence
    from {{ ref('stg_stripe__events') }}
    where event_type like 'customer.subscription.%' and object_type = 'subscription'
    union all
    select
        subscriptions.subscription_id,
        subscriptions.dbt_valid_from as observed_at,
        case when subscriptions.status = 'paused' then 'paused' else subscriptions.pause_behavior end as behavior,
        null as behavior_before,
        false as states_before,
        2 as precedence
    from {{ ref('snapshot_subscriptions') }} as subscriptions
    cross join {{ ref('stg_business__audit_settings') }} as settings
    where
        subscriptions.dbt_valid_from < settings.as_of
        and {{ priced_subscriptions_only('subscriptions.subscription_id') }}
    union all
    select
        subscriptions.subscription_id,
        -- A paused subscription says itself since when.
        case
            when subscriptions.status = 'paused' then coalesce(subscriptions.pause_transitioned_at, settings.as_of)
            else settings.as_of
        end as observed_at,
        case when subscriptions.status = 'paused' then 'paused' else subscriptions.pause_behavior end as behavior,
        null as behavior_before,
        subscriptions.status = 'paused' and subscriptions.pause_transitioned_at is not null as states_before,
        3 as precedence
    from {{ ref('stg_stripe__subscriptions') }} as subscriptions
    cross join {{ ref('stg_business__audit_settings') }} as settings
),

dated as (
    select distinct on (subscription_id, observed_at) *
    from stated
    order by subscription_id, observed_at, precedence, behavior
),

-- The first statement speaks for the time before it too: by what it says was before, else by what it says is.
opened as (
    select
        subscription_id,
        observed_at,
        behavior
    from dated
    union all
    select distinct on (subscription_id)
        subscription_id,
        '-infinity'::timestamptz as observed_at,
        case when states_before then behavior_before else behavior end as behavior
    from dated
    order by subscription_id, observed_at
),

stepped as (
    select
        *,
        lag(behavior) over (partition by subscription_id order by observed_at) as previous_behavior,
        row_number() over (partition by subscription_id order by observed_at) as step
    from opened
),

spans as (
    select
        *,
        lead(observed_at) over (partition by subscription_id order by observed_at) as next_at
    from stepped
    where step = 1 or behavior is distinct from previous_behavior
)

select
    subscription_id,
    observed_at as paused_from,
    next_at as resumed_at,
    behavior
from spans
where behavior is not null
