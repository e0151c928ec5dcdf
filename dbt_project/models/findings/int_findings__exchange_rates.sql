-- The exchange rate for each currency and day on which findings are valued: the newest on or before the period's end
-- (billing model 7.21), else the first one after it. An old rate is good enough to compare with a threshold; only one
-- of the last seven days states an amount.
with valued as (
    select distinct
        findings.currency,
        settings.reporting_currency,
        (least(findings.period_end, settings.as_of) at time zone 'utc')::date as valued_on
    from {{ ref('int_findings__collected') }} as findings
    cross join {{ ref('stg_business__audit_settings') }} as settings
)

select distinct on (valued.currency, valued.valued_on)
    valued.currency,
    valued.valued_on,
    rates.rate,
    rates.rate_date,
    rates.rate_date between valued.valued_on - 7 and valued.valued_on as is_recent
from valued
inner join {{ ref('stg_business__fx_rates') }} as rates
    on valued.currency = rates.from_currency and valued.reporting_currency = rates.to_currency
where valued.currency != valued.reporting_currency
order by
    valued.currency, valued.valued_on, rates.rate_date > valued.valued_on, abs(rates.rate_date - valued.valued_on)
