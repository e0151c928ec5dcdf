-- Price and quantity of periods without a line of their own, as the item's history states them (billing model 7.4): its
-- newest statement by then, else what the oldest later one says about the time before it.
with without_line as (
    select
        periods.*,
        -- Classic billing mode bills usage at the price in force when the period ends.
        case
            when periods.usage_type = 'metered' and coalesce(periods.billing_mode, 'classic') = 'classic'
                then periods.period_end - interval '1 second'
            else periods.period_start
        end as judged_at
    from {{ ref('int_periods__item_periods') }} as periods
    left join {{ ref('int_billed__periods') }} as billed on periods.item_period_id = billed.item_period_id
    where billed.price_id is null
)

-- What was stated later tells, at best, what held before it changed something.
select distinct on (without_line.item_period_id)
    without_line.item_period_id,
    case
        when statements.observed_at > without_line.judged_at
            then coalesce(statements.previous_price_id, statements.price_id)
        else statements.price_id
    end as price_id,
    case
        when statements.observed_at > without_line.judged_at and statements.previous_price_id is not null
            then statements.previous_quantity
        else statements.quantity
    end as quantity
from without_line
inner join {{ ref('int_history__item_observations') }} as statements
    on
        without_line.subscription_item_id = statements.subscription_item_id
        and (statements.quantity is null or statements.quantity > 0)
order by
    without_line.item_period_id,
    statements.observed_at > without_line.judged_at,
    abs(extract(epoch from statements.observed_at - without_line.judged_at)),
    statements.price_id
