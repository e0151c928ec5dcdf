-- The quantity that Stripe metered for each charge (billing model 7.11). Closed: the invoice lines' quantity, moved
-- into the band that the meter's summaries allow when it differs from the true usage. Open: the summaries so far.
with summed as (
    select
        ranges.charge_id,
        bool_or(
            (ranges.inner_end <= ranges.inner_start or inner_summary.customer_id is not null)
            and outer_summary.customer_id is not null
        ) as is_answered,
        bool_or(outer_summary.aggregated_value is not null) as has_events,
        coalesce(max(inner_summary.aggregated_value), 0) as inner_quantity,
        coalesce(max(outer_summary.aggregated_value), 0) as outer_quantity
    from {{ ref('int_usage__summary_ranges') }} as ranges
    left join {{ ref('stg_stripe__meter_event_summaries') }} as inner_summary
        on
            ranges.meter_id = inner_summary.meter_id
            and ranges.customer_id = inner_summary.customer_id
            and ranges.inner_start = inner_summary.start_at
            and ranges.inner_end = inner_summary.end_at
    left join {{ ref('stg_stripe__meter_event_summaries') }} as outer_summary
        on
            ranges.meter_id = outer_summary.meter_id
            and ranges.customer_id = outer_summary.customer_id
            and ranges.outer_start = outer_summary.start_at
            and ranges.outer_end = outer_summary.end_at
    group by ranges.charge_id
),

joined as (
    select
        terms.charge_id,
        terms.phase,
        terms.is_metered_at_stripe,
        usage.meter,
        usage.true_quantity,
        usage.late_quantity,
        usage.duplicate_events,
        usage.is_covered_by_log,
        usage.does_log_begin_inside,
        billed.line_count,
        coalesce(billed.quantity, 0) as line_quantity,
        billed.item_period_id is not null as has_line,
        -- An empty answer says 0 only where no line contradicts it (missing data is never read as zero).
        coalesce(summed.is_answered and (summed.has_events or coalesce(billed.quantity, 0) = 0), false)
            as is_summary_known,
        least(summed.inner_quantity, summed.outer_quantity) as least_metered,
        greatest(summed.inner_quantity, summed.outer_quantity) as most_metered
    from {{ ref('int_terms__metered_terms') }} as terms
    inner join {{ ref('int_usage__period_quantities') }} as usage on terms.charge_id = usage.charge_id
    left join {{ ref('int_billed__periods') }} as billed
        on terms.item_period_id = billed.item_period_id and terms.is_metered_at_stripe
    left join summed on terms.charge_id = summed.charge_id
),

decided as (
    select
        charge_id,
        meter,
        late_quantity,
        duplicate_events,
        is_covered_by_log,
        does_log_begin_inside,
        has_line,
        line_quantity,
        line_count,
        is_summary_known,
        least_metered,
        most_metered,
        case
            when is_covered_by_log then true_quantity
            when phase = 'closed' then line_quantity
            else 0
        end as true_quantity,
        case
            when not is_metered_at_stripe then case when is_covered_by_log then true_quantity else 0 end
            when not is_covered_by_log then case when phase = 'closed' then line_quantity else 0 end
            when phase = 'open' and is_summary_known
                then least(greatest(true_quantity, least_metered), most_metered)
            when phase = 'open' then true_quantity
            when line_quantity = true_quantity then true_quantity
            when is_summary_known then least(greatest(line_quantity, least_metered), most_metered)
            else line_quantity
        end as metered_quantity
    from joined
)

select
    *,
    -- The part of the missing usage that nobody could have reported in time.
    least(late_quantity, greatest(true_quantity - metered_quantity, 0)) as late_gap_quantity
from decided
