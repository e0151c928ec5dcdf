-- The Stripe price and quantity in force at each period's start, judged by the terms of that time (billing model 7.4):
-- the period's own line, else the newest earlier statement of the item's history, else the oldest later one, and only
-- then the present item; a running period without a line by the item as it is now.
with without_line as (
    select periods.*
    from {{ ref('int_periods__item_periods') }} as periods
    left join {{ ref('int_billed__periods') }} as billed on periods.item_period_id = billed.item_period_id
    where billed.price_id is null
),

-- What was stated later tells, at best, what held before it changed something.
neighbours as (
    select distinct on (without_line.item_period_id)
        without_line.item_period_id,
        case
            when statements.observed_at > without_line.period_start
                then coalesce(statements.previous_price_id, statements.price_id)
            else statements.price_id
        end as price_id,
        case
            when statements.observed_at > without_line.period_start and statements.previous_price_id is not null
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
        statements.observed_at > without_line.period_start,
        abs(extract(epoch from statements.observed_at - without_line.period_start)),
        statements.price_id
),

priced as (
    select
        periods.*,
        coalesce(
            billed.price_id,
            case when periods.phase = 'open' then periods.present_price_id end,
            neighbours.price_id,
            periods.present_price_id
        ) as price_id,
        case
            when billed.price_id is not null and periods.usage_type = 'licensed' then coalesce(billed.quantity, 1)
            when periods.phase = 'open' then periods.present_quantity
            else coalesce(neighbours.quantity, periods.present_quantity)
        end as quantity,
        -- A trial that began after the period did ended the period: it says nothing about its start.
        case
            when
                coalesce(periods.trial_started_at, '-infinity') <= periods.period_start
                and periods.trial_ended_at > periods.period_start
                then periods.trial_ended_at
        end as free_until
    from {{ ref('int_periods__item_periods') }} as periods
    left join {{ ref('int_billed__periods') }} as billed on periods.item_period_id = billed.item_period_id
    left join neighbours on periods.item_period_id = neighbours.item_period_id
),

intervals as (
    select
        priced.*,
        plans.plan_key,
        plans.product_id,
        plans.price_created_at,
        plans.unit_amount_decimal,
        plans.billing_interval as price_interval,
        plans.interval_count as price_interval_count,
        plans.interval_months,
        {{ add_billing_intervals('priced.natural_end', '-1', 'plans.billing_interval', 'plans.interval_count') }}
            as interval_before_end,
        {{ add_billing_intervals('priced.period_start', '1', 'plans.billing_interval', 'plans.interval_count') }}
            as interval_after_start
    from priced
    inner join {{ ref('int_terms__price_plans') }} as plans on priced.price_id = plans.price_id
)

select
    item_period_id,
    subscription_item_id,
    subscription_id,
    customer_id,
    currency,
    currency_exponent,
    rounding_unit,
    usage_type,
    meter_id,
    stripe_event_name,
    formula,
    period_start,
    period_end,
    natural_end,
    phase,
    as_of,
    free_until as trial_ended_at,
    added_at,
    ended_at,
    is_last,
    is_cut_short,
    price_id,
    'price:' || price_id || ':' || currency as stripe_rate_id,
    quantity,
    plan_key,
    product_id,
    price_created_at,
    unit_amount_decimal,
    price_interval,
    price_interval_count,
    interval_months,
    -- Below one interval when the subscription starts off its anchor grid or a trial ends inside the period.
    case
        when free_until >= period_end then 0
        else extract(epoch from natural_end - coalesce(free_until, period_start))
    end as billable_seconds,
    extract(epoch from natural_end - case
        when interval_after_start = natural_end or interval_before_end = period_start then period_start
        else interval_before_end
    end) as full_seconds
from intervals
