-- Live licences whose plan is listed, but not in the currency that is billed; and currencies that no exchange rate of
-- the last seven days turns into the reporting one.
with billed as (
    select * from {{ ref('int_accounts__live_licences') }}
),

listed as (
    select distinct plan_key from {{ ref('int_terms__list_prices') }}
)

select
    'list_price' as kind,
    billed.subscription_id as subject_id,
    billed.customer_id,
    billed.currency
from billed
inner join listed on billed.plan_key = listed.plan_key
left join {{ ref('int_terms__list_prices') }} as list
    on billed.plan_key = list.plan_key and billed.currency = list.currency
where list.plan_key is null
union all
select distinct
    'exchange_rate' as kind,
    billed.currency as subject_id,
    null as customer_id,
    billed.currency
from billed
cross join {{ ref('stg_business__audit_settings') }} as settings
left join {{ ref('stg_business__fx_rates') }} as rates
    on
        billed.currency = rates.from_currency
        and settings.reporting_currency = rates.to_currency
        and rates.rate_date <= (settings.as_of at time zone 'utc')::date
        and rates.rate_date >= (settings.as_of at time zone 'utc')::date - 7
where billed.currency != settings.reporting_currency and rates.from_currency is null
