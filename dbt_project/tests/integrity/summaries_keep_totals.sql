{{ config(severity='error', meta={'dagster': {'ref': {'name': 'fct_incidents'}}}) }}
-- Incidents and months only group findings: per type, direction and currency they hold the same totals.
with totals as (
    select
        'incidents' as summary,
        leakage_type,
        direction,
        currency,
        leakage_amount,
        findings
    from {{ ref('fct_incidents') }}
    union all
    select
        'months' as summary,
        leakage_type,
        direction,
        currency,
        leakage_amount,
        findings
    from {{ ref('fct_leakage_monthly') }}
    union all
    select
        'incidents' as summary,
        leakage_type,
        direction,
        currency,
        -leakage_amount as leakage_amount,
        -1 as findings
    from {{ ref('fct_leakage_detections') }}
    union all
    select
        'months' as summary,
        leakage_type,
        direction,
        currency,
        -leakage_amount as leakage_amount,
        -1 as findings
    from {{ ref('fct_leakage_detections') }}
    where phase = 'closed'
)

select
    summary,
    leakage_type,
    direction,
    currency,
    sum(leakage_amount) as missing_amount,
    sum(findings) as missing_findings
from totals
group by summary, leakage_type, direction, currency
having sum(leakage_amount) != 0 or sum(findings) != 0
