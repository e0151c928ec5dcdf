-- Doubts about what the usage log says, and the span of a customer's meter that each touches: clocks that run ahead may
-- have put events into the wrong period; a log that repeats many events may hold others under two ids, so that less
-- leaked than it seems; and what one period lacks, the next may have been billed for. One row per customer, meter, span
-- and doubt; without a direction it touches both.
with gaps as (
    select
        prices.customer_id,
        quantities.meter,
        prices.period_start,
        prices.period_end,
        quantities.true_quantity - quantities.metered_quantity as gap,
        lead(quantities.true_quantity - quantities.metered_quantity) over periods as next_gap,
        lag(quantities.true_quantity - quantities.metered_quantity) over periods as previous_gap
    from {{ ref('int_usage__metered_quantities') }} as quantities
    inner join {{ ref('int_terms__metered_charges') }} as charges on quantities.charge_id = charges.charge_id
    inner join {{ ref('int_terms__item_period_prices') }} as prices on charges.item_period_id = prices.item_period_id
    where quantities.meter is not null
    window periods as (
        partition by prices.subscription_id, charges.stripe_event_name order by prices.period_start, charges.charge_id
    )
)

select distinct
    customer_id,
    meter,
    null::text as direction,
    period_start as touched_from,
    period_end as touched_until,
    'billed_next_period' as doubt
from gaps
where
    (gap > 0 and abs(gap + next_gap) <= gap / 100)
    or (previous_gap > 0 and abs(gap + previous_gap) <= previous_gap / 100)
union all
select
    customer_id,
    meter,
    null::text as direction,
    window_start as touched_from,
    window_end as touched_until,
    'clock_skew' as doubt
from {{ ref('stg_usage__windows') }}
where skewed_events > 0
group by customer_id, meter, window_start, window_end
union all
select
    prices.customer_id,
    sources.meter,
    'leak' as direction,
    prices.period_start as touched_from,
    prices.period_end as touched_until,
    'repeated_events' as doubt
from (
    select
        charge_id,
        min(meter) as meter
    from {{ ref('int_usage__period_sources') }}
    group by charge_id
    -- As often as the check of the whole meter allows.
    having sum(duplicate_events) * 10 >= sum(event_count)
) as sources
inner join {{ ref('int_terms__metered_charges') }} as charges on sources.charge_id = charges.charge_id
inner join {{ ref('int_terms__item_period_prices') }} as prices on charges.item_period_id = prices.item_period_id
group by prices.customer_id, sources.meter, prices.period_start, prices.period_end
