-- The Stripe price and quantity in force at each period's start, judged by the terms of that time (billing model 7.4):
-- the period's own line, else the item's history, and only then the present item; a running period by the item as is.
with priced as (
    select
        periods.*,
        coalesce(
            billed.price_id,
            case
                when periods.phase = 'open' and periods.period_end = periods.settles_at then periods.present_price_id
            end,
            history.price_id,
            periods.present_price_id
        ) as price_id,
        case
            when billed.price_id is not null and periods.usage_type = 'licensed' then coalesce(billed.quantity, 1)
            when periods.phase = 'open' then periods.present_quantity
            else coalesce(history.quantity, periods.present_quantity)
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
    left join {{ ref('int_terms__prices_by_history') }} as history
        on periods.item_period_id = history.item_period_id
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
        plans.meter_id as price_meter_id,
        plans.stripe_event_name as price_event_name,
        plans.formula as price_formula,
        {{ add_billing_intervals('priced.natural_end', '-1', 'plans.billing_interval', 'plans.interval_count') }}
            as interval_before_end,
        {{ add_billing_intervals('priced.period_start', '1', 'plans.billing_interval', 'plans.interval_count') }}
            as interval_after_start,
        {{ billing_intervals_between(
            'priced.period_start', 'priced.natural_end', 'plans.billing_interval', 'plans.interval_count'
        ) }} as intervals_about
    from priced
    inner join {{ ref('int_terms__price_plans') }} as plans on priced.price_id = plans.price_id
),

-- One classic line for the time before a backdated subscription was made: in intervals imagined from its start on, the
-- last by the second.
counted as (
    select
        *,
        intervals_about - ({{
            add_billing_intervals('period_start', 'intervals_about', 'price_interval', 'price_interval_count')
        }} > natural_end)::int as whole_intervals
    from intervals
),

lumped as (
    select
        *,
        {{ add_billing_intervals('period_start', 'whole_intervals', 'price_interval', 'price_interval_count') }}
            as whole_until,
        {{ add_billing_intervals('period_start', 'whole_intervals + 1', 'price_interval', 'price_interval_count') }}
            as rest_until,
        free_until is null and interval_after_start != natural_end
        and (coalesce(is_elapsed_time, false) or (whole_intervals > 1 and interval_before_end != period_start))
            as is_lump
    from counted
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
    coalesce(price_meter_id, meter_id) as meter_id,
    coalesce(price_event_name, stripe_event_name) as stripe_event_name,
    coalesce(price_formula, formula) as formula,
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
    case
        when free_until >= period_end then 0
        when is_lump
            then extract(epoch from (rest_until - whole_until) * whole_intervals + (natural_end - whole_until))
        else extract(epoch from natural_end - coalesce(free_until, period_start))
    end as billable_seconds,
    case
        when is_lump then extract(epoch from rest_until - whole_until)
        when interval_after_start = natural_end or interval_before_end = period_start
            then extract(epoch from natural_end - period_start)
        else extract(epoch from natural_end - interval_before_end)
    end as full_seconds
from lumped
