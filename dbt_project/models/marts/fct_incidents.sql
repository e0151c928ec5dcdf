-- Findings with one cause as one row: same type, meter and cause (for usage the source whose volume is the gap), since
-- the window in which it began. The monthly amount counts leaks that still run, each by its newest closed period.
with findings as (
    select
        detections.*,
        incidents.source,
        incidents.started_at,
        first_value(incidents.is_running) over newest as is_running_usage,
        row_number() over newest = 1 as is_newest,
        min(detections.first_detected_at) over (partition by detections.incident_id) as found_at,
        max(detections.period_end) over leak as last_period_end,
        max(detections.period_start) over leak as last_period_start,
        types.recurring
    from {{ ref('fct_leakage_detections') }} as detections
    inner join {{ ref('int_findings__incidents') }} as incidents on detections.detection_id = incidents.detection_id
    inner join {{ ref('finding_types') }} as types on detections.leakage_type = types.leakage_type
    window
        leak as (
            partition by detections.incident_id, detections.customer_id, detections.subscription_id
        ),
        newest as (
            partition by detections.incident_id, detections.customer_id, detections.subscription_id
            order by detections.phase = 'closed' desc, detections.period_start desc, detections.detection_id
        )
),

-- Looked up once: asked again for every finding, it would read all scopes each time.
newest_closed as (
    select
        subscription_id,
        max(period_start) as period_start
    from {{ ref('int_terms__scopes') }}
    where phase = 'closed'
    group by subscription_id
),

-- A leak has ended when a closed period of its subscription without a finding follows, or when time has passed without
-- any: one more period, and a week for the invoice.
judged as (
    select
        findings.*,
        findings.recurring
        and coalesce(findings.is_running_usage, true)
        and findings.last_period_end + (findings.last_period_end - findings.last_period_start) + interval '7 days'
        >= settings.as_of
        and (
            findings.is_running_usage is not null
            or coalesce(newest_closed.period_start < findings.last_period_end, true)
        ) as is_running
    from findings
    left join newest_closed on findings.subscription_id = newest_closed.subscription_id
    cross join {{ ref('stg_business__audit_settings') }} as settings
),

totals as (
    select
        incident_id,
        leakage_type,
        direction,
        meter,
        source,
        cause,
        currency,
        min(started_at) as started_at,
        max(last_period_end) as last_period_end,
        count(distinct coalesce(customer_id, cause)) as customers,
        count(*) as findings,
        coalesce(sum(leakage_amount), 0) as leakage_amount,
        coalesce(sum(monthly_leakage_amount) filter (where is_newest and is_running), 0) as monthly_leakage_amount,
        coalesce(sum(leakage_amount) filter (where period_end <= found_at), 0) as lost_before_found_amount,
        bool_or(is_running) as is_running,
        min(first_detected_at) as first_detected_at
    from judged
    group by incident_id, leakage_type, direction, meter, source, cause, currency
)

select
    incident_id,
    leakage_type,
    direction,
    meter,
    source,
    cause,
    started_at,
    case when not is_running then last_period_end end as ended_at,
    is_running,
    customers,
    findings,
    leakage_amount,
    monthly_leakage_amount,
    -- A month has 30.4375 days on average.
    round(monthly_leakage_amount / 30.4375, 2) as daily_leakage_amount,
    -- What it had cost for good when an audit found any of it first.
    lost_before_found_amount,
    greatest(0, round(extract(epoch from first_detected_at - started_at) / 86400, 1)) as days_until_found,
    currency,
    first_detected_at,
    coalesce('`' || cause || '`: ', '') || replace(leakage_type, '_', ' ') || coalesce(' of ' || meter, '')
    || ' since ' || to_char(started_at at time zone 'utc', 'YYYY-MM-DD') || ': ' || customers::text
    || case when customers = 1 then ' customer, ' else ' customers, ' end
    || case
        when is_running and monthly_leakage_amount > 0
            then monthly_leakage_amount::text || ' ' || upper(currency) || ' a month, '
        else ''
    end
    || leakage_amount::text || ' ' || upper(currency) || ' so far'
    || case when is_running then '.' else '; it has ended.' end as description
from totals
