-- Leakage by type and the month in which the audited period ended: history and trend.
select
    date_trunc('month', period_end at time zone 'utc')::date as month,
    leakage_type,
    direction,
    amount_basis,
    currency,
    count(*) as findings,
    count(distinct customer_id) as customers,
    sum(leakage_amount) as leakage_amount,
    sum(reporting_amount) as reporting_amount
from {{ ref('fct_leakage_detections') }}
where phase = 'closed'
group by date_trunc('month', period_end at time zone 'utc')::date, leakage_type, direction, amount_basis, currency
