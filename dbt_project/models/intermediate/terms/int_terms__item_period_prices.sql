-- The Stripe price and quantity in force at each period's start, judged by the terms of that time (billing model 7.4):
-- the period's own line, else the newest earlier line, else the oldest later one, and only then the present item;
-- a running period without a line by the item as it is now.
with without_line as (
    select periods.*
    from {{ ref('int_periods__item_periods') }} as periods
    left join {{ ref('int_billed__periods') }} as billed on periods.item_period_id = billed.item_period_id
    where billed.price_id is null
),

neighbours as (
    select distinct on (without_line.item_period_id)
        without_line.item_period_id,
        lines.price_id,
        lines.quantity
    from without_line
    inner join {{ ref('int_billed__lines') }} as lines
        on
            without_line.subscription_item_id = lines.subscription_item_id
            and lines.price_id is not null
            and lines.gross_amount >= 0
            and not (lines.is_proration and without_line.period_start <= lines.line_start)
    order by
        without_line.item_period_id,
        lines.line_start > without_line.period_start,
        abs(extract(epoch from lines.line_start - without_line.period_start)),
        lines.line_id
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
        end as quantity
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
    trial_ended_at,
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
    greatest(0, extract(epoch from natural_end - least(
        natural_end, greatest(period_start, coalesce(trial_ended_at, period_start))
    ))) as billable_seconds,
    extract(epoch from natural_end - case
        when interval_after_start = natural_end or interval_before_end = period_start then period_start
        else interval_before_end
    end) as full_seconds
from intervals
