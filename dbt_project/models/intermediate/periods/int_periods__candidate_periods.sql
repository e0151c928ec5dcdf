-- Periods that Stripe states and those that fill the gaps. Under flexible billing mode a metered item whose price
-- changed has a part for each price, rated by itself, and all parts are invoiced at the period's end; lines that exist
-- state the parts themselves. Classic bills the whole period at the price on its one line.
with periods as (
    select
        subscription_item_id,
        period_start,
        period_end,
        stated_period_end as natural_end,
        is_on_line
    from {{ ref('int_periods__observed_periods') }}
    union all
    select
        subscription_item_id,
        period_start,
        period_end,
        grid_end as natural_end,
        false as is_on_line
    from {{ ref('int_periods__grid_periods') }}
),

bounds as (
    select
        periods.subscription_item_id,
        periods.period_start,
        changes.changed_at as part_start
    from periods
    inner join {{ ref('int_periods__items') }} as items
        on periods.subscription_item_id = items.subscription_item_id
    inner join {{ ref('int_history__item_changes') }} as changes
        on
            periods.subscription_item_id = changes.subscription_item_id
            -- A change told some seconds after a period's bound is that bound.
            and changes.changed_at > periods.period_start + interval '1 hour'
            and changes.changed_at < periods.period_end - interval '1 hour'
    where
        not periods.is_on_line
        and items.usage_type = 'metered'
        and items.billing_mode = 'flexible'
        and changes.is_exact
        and changes.old_price_id != changes.new_price_id
    union
    select
        subscription_item_id,
        period_start,
        period_start as part_start
    from periods
)

select
    periods.subscription_item_id,
    bounds.part_start as period_start,
    coalesce(
        lead(bounds.part_start) over (
            partition by periods.subscription_item_id, periods.period_start order by bounds.part_start
        ),
        periods.period_end
    ) as period_end,
    periods.natural_end,
    periods.period_end as settles_at,
    periods.is_on_line
from periods
inner join bounds
    on
        periods.subscription_item_id = bounds.subscription_item_id
        and periods.period_start = bounds.period_start
