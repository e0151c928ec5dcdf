-- Time in which an item was rightly billed but no period is stated: before the first, between two, after the last.
with bounds as (
    select
        items.subscription_item_id,
        items.billed_from,
        items.billed_until,
        settings.as_of,
        min(observed.period_start) as first_start,
        max(observed.period_end) as last_end
    from {{ ref('int_periods__items') }} as items
    cross join {{ ref('stg_business__audit_settings') }} as settings
    left join {{ ref('int_periods__observed_periods') }} as observed
        on items.subscription_item_id = observed.subscription_item_id
    group by items.subscription_item_id, items.billed_from, items.billed_until, settings.as_of
),

edges as (
    select
        subscription_item_id,
        billed_from as gap_start,
        coalesce(first_start, billed_until, as_of) as gap_end,
        coalesce(first_start, billed_until) is null as is_open_ended
    from bounds
    union all
    select
        subscription_item_id,
        period_end as gap_start,
        lead(period_start) over (partition by subscription_item_id order by period_start) as gap_end,
        false as is_open_ended
    from {{ ref('int_periods__observed_periods') }}
    union all
    select
        subscription_item_id,
        last_end as gap_start,
        coalesce(billed_until, as_of) as gap_end,
        billed_until is null as is_open_ended
    from bounds
    where last_end is not null
)

select
    edges.subscription_item_id,
    edges.gap_start,
    edges.gap_end,
    edges.is_open_ended,
    items.billing_interval,
    items.interval_count,
    items.billing_cycle_anchor
from edges
inner join {{ ref('int_periods__items') }} as items on edges.subscription_item_id = items.subscription_item_id
where
    edges.gap_end > edges.gap_start
    -- Nothing is billed while the subscription itself is paused.
    and not exists (
        select 1 from {{ ref('int_history__subscription_pauses') }} as pauses
        where
            pauses.subscription_id = items.subscription_id
            and pauses.behavior = 'paused'
            and pauses.paused_from <= edges.gap_start
            and pauses.paused_from > '-infinity'
            and (pauses.resumed_at is null or pauses.resumed_at + interval '1 hour' >= edges.gap_end)
    )
