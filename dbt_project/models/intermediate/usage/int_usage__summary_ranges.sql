-- Minute-aligned ranges around a period: Stripe sums whole minutes, periods end on seconds. inner holds the whole
-- minutes inside, outer both edge minutes as well; an open period ends at as_of (billing model section 1, rule 7.11).
with edges as (
    select
        charges.charge_id,
        charges.item_period_id,
        charges.stripe_event_name,
        prices.meter_id,
        prices.customer_id,
        prices.phase,
        greatest(prices.period_start, coalesce(prices.trial_ended_at, prices.period_start)) as usage_start,
        least(prices.period_end, prices.as_of) as usage_end
    from {{ ref('int_terms__metered_charges') }} as charges
    inner join {{ ref('int_terms__item_period_prices') }} as prices on charges.item_period_id = prices.item_period_id
    where charges.is_metered_at_stripe and prices.meter_id is not null
)

select
    charge_id,
    item_period_id,
    meter_id,
    customer_id,
    phase,
    date_trunc('minute', usage_start + interval '1 minute' - interval '1 microsecond') as inner_start,
    date_trunc('minute', usage_end) as inner_end,
    date_trunc('minute', usage_start) as outer_start,
    date_trunc('minute', usage_end + interval '1 minute' - interval '1 microsecond') as outer_end
from edges
where usage_end > usage_start
