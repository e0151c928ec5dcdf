-- True usage of each charge, folded by the meter's formula (billing model 7.12), and whether the log can speak about
-- the period at all: it says nothing about a meter that it never saw, or saw only after the period.
with log_starts as (
    select
        coalesce(mappings.stripe_event_name, coverage.meter) as stripe_event_name,
        min(coverage.first_event_at) as first_event_at
    from {{ ref('stg_usage__log_coverage') }} as coverage
    left join {{ ref('stg_business__meter_mappings') }} as mappings on coverage.meter = mappings.meter
    group by coalesce(mappings.stripe_event_name, coverage.meter)
),

folded as (
    select
        charge_id,
        min(meter) as meter,
        case formula
            when 'count' then sum(event_count)::numeric
            when 'last' then (array_agg(last_value order by last_at desc, source))[1]
            else sum(quantity_sum)
        end as true_quantity,
        case formula
            when 'count' then sum(late_count)::numeric
            when 'last' then 0
            else sum(late_sum)
        end as late_quantity,
        sum(duplicate_events) as duplicate_events
    from {{ ref('int_usage__period_sources') }}
    group by charge_id, formula
)

select
    charges.charge_id,
    folded.meter,
    coalesce(folded.true_quantity, 0) as true_quantity,
    coalesce(folded.late_quantity, 0) as late_quantity,
    coalesce(folded.duplicate_events, 0) as duplicate_events,
    charges.formula is not null and coalesce(log_starts.first_event_at < prices.period_end, false) as is_covered_by_log,
    coalesce(log_starts.first_event_at > prices.period_start, false) as does_log_begin_inside
from {{ ref('int_terms__metered_charges') }} as charges
inner join {{ ref('int_terms__item_period_prices') }} as prices on charges.item_period_id = prices.item_period_id
left join log_starts on charges.stripe_event_name = log_starts.stripe_event_name
left join folded on charges.charge_id = folded.charge_id
