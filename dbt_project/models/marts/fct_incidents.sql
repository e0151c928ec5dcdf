-- Findings with one cause as one row: same type, meter and cause (for usage the source whose volume is the gap).
select
    incident_id,
    leakage_type,
    direction,
    meter,
    case when leakage_type in ('unreported_usage', 'overbilled_usage') then cause end as source,
    cause,
    min(period_start) as started_at,
    count(distinct customer_id) as customers,
    count(*) as findings,
    sum(leakage_amount) as leakage_amount,
    coalesce(
        sum(monthly_leakage_amount) filter (where is_latest_period), 0
    ) as monthly_leakage_amount,
    currency,
    coalesce(
        '`' || cause || '`: ', ''
    ) || replace(leakage_type, '_', ' ') || coalesce(' of ' || meter, '') || ' since '
    || to_char(min(period_start) at time zone 'utc', 'YYYY-MM-DD') || ': ' || count(distinct customer_id)::text
    || case when count(distinct customer_id) = 1 then ' customer, ' else ' customers, ' end
    || sum(leakage_amount)::text || ' ' || upper(currency) || ' so far.' as description
from (
    select
        detections.*,
        row_number() over (
            partition by detections.incident_id, detections.customer_id, detections.subscription_id
            order by detections.phase = 'closed' desc, detections.period_start desc
        ) = 1 as is_latest_period
    from {{ ref('fct_leakage_detections') }} as detections
) as detections
group by incident_id, leakage_type, direction, meter, cause, currency
