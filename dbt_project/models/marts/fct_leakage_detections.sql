-- One row per published finding. Below the smallest amount worth a person's time, or under an approved exception,
-- nothing is published; the bridge still shows the amount. Usage that nobody prices is published without an amount. An
-- amount without any exchange rate cannot be compared: it is published, and takes its place as a medium one.
-- What the data cannot carry stands in fct_blocked_findings.
with published as (
    select
        judged.*,
        coalesce(
            judged.comparable_amount, case when judged.leakage_amount is not null then settings.severity_medium end
        ) as weighed_amount,
        settings.as_of,
        settings.severity_medium,
        settings.severity_high,
        settings.severity_critical
    from {{ ref('int_findings__judged') }} as judged
    cross join {{ ref('stg_business__audit_settings') }} as settings
    left join {{ ref('int_quality__usage_blocks') }} as blocks on judged.detection_id = blocks.detection_id
    where
        judged.exception_id is null
        and blocks.detection_id is null
        and (judged.comparable_amount is null or judged.comparable_amount >= settings.min_amount)
)

select
    published.detection_id,
    published.customer_id,
    published.subscription_id,
    published.leakage_type,
    published.direction,
    published.phase,
    published.period_start,
    published.period_end,
    published.currency,
    published.leakage_amount,
    published.monthly_leakage_amount,
    published.reporting_amount,
    published.amount_basis,
    case
        when published.weighed_amount >= published.severity_critical then 'critical'
        when published.weighed_amount >= published.severity_high then 'high'
        when published.weighed_amount >= published.severity_medium then 'medium'
        else 'low'
    end as severity,
    published.confidence,
    -- Expected recovery: old periods, churning customers and those who are gone give less of it back.
    round(
        coalesce(published.weighed_amount, 0) * published.confidence * published.recovery_share
        * greatest(
            0.2, 1 - extract(epoch from published.as_of - least(published.period_end, published.as_of)) / 31557600
        )
        * (
            1 - 0.5 * case
                when customers.has_live_subscription is false then 1
                else coalesce(customers.churn_risk, 1 - customers.health_score, 0)
            end
        ), 4
    ) as priority_score,
    incidents.incident_id,
    published.meter,
    published.reason,
    published.cause,
    published.description,
    published.evidence,
    -- Who the customer is, for the order and for whoever picks the finding up.
    customers.mrr as customer_mrr,
    customers.lifetime_value as customer_lifetime_value,
    customers.health_score as customer_health_score,
    customers.churn_risk as customer_churn_risk,
    customers.tenure_months as customer_tenure_months,
    coalesce(least(sightings.first_detected_at, published.as_of), published.as_of) as first_detected_at,
    published.as_of as last_detected_at
from published
inner join {{ ref('int_findings__incidents') }} as incidents on published.detection_id = incidents.detection_id
left join {{ ref('dim_customers') }} as customers on published.customer_id = customers.customer_id
left join {{ source('ops', 'detection_sightings') }} as sightings
    on published.detection_id = sightings.detection_id
