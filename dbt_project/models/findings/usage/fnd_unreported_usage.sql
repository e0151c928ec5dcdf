-- Usage in the log that never reached the meter, though it was known in time (the late part is late_usage). Gaps within
-- the tolerance are not published, except where the meter bills nothing at all; in an open period a gap no larger than
-- the last day's usage waits a night. What Stripe itself reports of rejected events of the meter is in the evidence.
with found as (
    {{ bridge_finding(
        leakage_type='unreported_usage',
        direction='leak',
        amount='usage_gap_step - late_usage_step',
        condition="usage_gap_step > late_usage_step and not is_final_usage_lost and is_usage_gap_published",
        cause='cause_source',
        reason="case when billed_quantity = 0 then 'nothing_metered' end",
        doubts=[('summary_unknown', 'not is_summary_known'), ('late_usage_arriving', 'late_quantity > 0')],
        description=quantity_text('expected_quantity') ~ " || ' ' || meter || ' used, ' || "
            ~ quantity_text('billed_quantity') ~ " || ' metered in ' || " ~ period_text('period_start', 'period_end')
            ~ " || ': ' || " ~ money_text('usage_gap_step - late_usage_step', 'currency_exponent', 'currency')
            ~ " || ' not billed' || case when late_usage_step > 0 then ', besides ' || "
            ~ money_text('late_usage_step', 'currency_exponent', 'currency') ~ " || ' of late usage.' else '.' end"
    ) }}
),

spans as (
    select distinct
        meter,
        period_start,
        period_end
    from found
),

rejected as (
    select
        spans.meter,
        spans.period_start,
        spans.period_end,
        sum(errors.error_count) as error_count,
        string_agg(distinct errors.code, ', ' order by errors.code) as codes,
        jsonb_agg(
            jsonb_strip_nulls(jsonb_build_object(
                'event_id', errors.event_id,
                'code', errors.code,
                'error_count', errors.error_count,
                'sample_message', errors.sample_message,
                'sample_requests', errors.sample_requests,
                'window_start', errors.window_start,
                'window_end', errors.window_end
            )) order by errors.window_start, errors.event_id, errors.code
        ) as reports
    from spans
    inner join {{ ref('int_usage__meter_errors') }} as errors
        on
            spans.meter = errors.meter
            and spans.period_end > errors.window_start
            and spans.period_start <= errors.window_end
    group by spans.meter, spans.period_start, spans.period_end
)

select
    found.customer_id,
    found.subscription_id,
    found.leakage_type,
    found.direction,
    found.meter,
    found.period_start,
    found.period_end,
    found.phase,
    found.currency,
    found.leakage_amount,
    found.months,
    found.cause,
    found.reason,
    found.doubts,
    found.description || coalesce(
        ' Stripe reports ' || rejected.error_count || ' rejected events of the meter in that time ('
        || rejected.codes || ').', ''
    ) as description,
    found.evidence
    || case
        when rejected.meter is null then '{}'::jsonb else jsonb_build_object('meter_errors', rejected.reports)
    end as evidence
from found
left join rejected
    on
        found.meter = rejected.meter
        and found.period_start = rejected.period_start
        and found.period_end = rejected.period_end
