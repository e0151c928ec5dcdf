-- Leakage by type and the month in which the audited period ended, every month of the past year: history and trend. A
-- period that still runs counts in the month of the audit, apart from what is lost for good.
with findings as (
    select
        detections.*,
        date_trunc('month', least(detections.period_end, settings.as_of) at time zone 'utc')::date as month,
        extract(epoch from settings.as_of - detections.first_detected_at) / 86400 as days_open,
        extract(epoch from detections.first_detected_at - detections.period_end) / 86400 as days_until_found,
        detections.period_end <= detections.first_detected_at as was_lost_before_found,
        coalesce(states.status, 'new') in ('new', 'investigating', 'approved', 'actioned') as is_unsettled
    from {{ ref('fct_leakage_detections') }} as detections
    cross join {{ ref('stg_business__audit_settings') }} as settings
    left join {{ source('ops', 'detection_state') }} as states on detections.detection_id = states.detection_id
    -- What a person dismissed is no leak.
    where coalesce(states.status, 'new') != 'dismissed'
),

kinds as (
    select
        leakage_type,
        direction,
        amount_basis,
        currency,
        min(month) as first_month
    from findings
    group by leakage_type, direction, amount_basis, currency
),

months as (
    select
        kinds.*,
        series.month::date as month
    from kinds
    cross join {{ ref('stg_business__audit_settings') }} as settings
    cross join lateral generate_series(
        least(
            kinds.first_month,
            (date_trunc('month', settings.as_of at time zone 'utc') - interval '11 months')::date
        )::timestamp,
        date_trunc('month', settings.as_of at time zone 'utc'),
        interval '1 month'
    ) as series (month)
),

totals as (
    select
        months.month,
        months.leakage_type,
        months.direction,
        months.amount_basis,
        months.currency,
        count(findings.detection_id) filter (where findings.phase = 'closed') as findings,
        count(distinct findings.customer_id) filter (where findings.phase = 'closed') as customers,
        coalesce(sum(findings.leakage_amount) filter (where findings.phase = 'closed'), 0) as leakage_amount,
        case
            when count(findings.detection_id) filter (where findings.phase = 'closed') = 0 then 0
            else sum(findings.reporting_amount) filter (where findings.phase = 'closed')
        end as reporting_amount,
        coalesce(sum(findings.leakage_amount) filter (where findings.phase != 'closed'), 0) as open_amount,
        coalesce(sum(findings.leakage_amount) filter (where findings.was_lost_before_found), 0) as lost_before_found,
        count(*) filter (where findings.is_unsettled) as unsettled_findings,
        round(avg(findings.days_open) filter (where findings.is_unsettled), 1) as average_days_open,
        round(avg(greatest(0, findings.days_until_found)) filter (where findings.phase = 'closed'), 1)
            as average_days_until_found
    from months
    left join findings
        on
            months.month = findings.month
            and months.leakage_type = findings.leakage_type
            and months.direction = findings.direction
            and months.amount_basis = findings.amount_basis
            and months.currency = findings.currency
    group by months.month, months.leakage_type, months.direction, months.amount_basis, months.currency
)

select
    *,
    leakage_amount - lag(leakage_amount, 1, 0::numeric) over earlier as change_amount,
    round(avg(leakage_amount) over (
        partition by leakage_type, direction, amount_basis, currency order by month
        rows between 2 preceding and current row
    ), 4) as three_month_average
from totals
window earlier as (partition by leakage_type, direction, amount_basis, currency order by month)
