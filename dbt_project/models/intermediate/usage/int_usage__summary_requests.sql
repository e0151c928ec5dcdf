-- The meter event summaries that are worth a request: one call costs one customer, meter and range, and Stripe limits
-- reads per month. Closed periods are asked about only when the invoice lines differ from the true usage; open ones
-- when there is usage to compare.
with wanted as (
    select
        ranges.meter_id,
        ranges.customer_id,
        ranges.inner_start,
        ranges.inner_end,
        ranges.outer_start,
        ranges.outer_end
    from {{ ref('int_usage__summary_ranges') }} as ranges
    inner join {{ ref('int_usage__period_quantities') }} as usage on ranges.charge_id = usage.charge_id
    left join {{ ref('int_billed__periods') }} as billed on ranges.item_period_id = billed.item_period_id
    where
        usage.is_covered_by_log
        and (
            (ranges.phase = 'open' and usage.true_quantity > 0)
            or (ranges.phase = 'closed' and coalesce(billed.quantity, 0) != usage.true_quantity)
        )
)

select
    meter_id,
    customer_id,
    inner_start as start_at,
    inner_end as end_at
from wanted
where inner_end > inner_start
union
select
    meter_id,
    customer_id,
    outer_start as start_at,
    outer_end as end_at
from wanted
where outer_end > outer_start
