-- Usage of ids that nobody knows, by month and meter (billing model 7.29), in the reporting currency: whose it is would
-- tell the currency. An id that the accounts file names without a customer at Stripe is told apart.
with known_accounts as (
    select distinct account_id
    from {{ of_all_customers(ref('stg_business__accounts'), 'raw_business', 'accounts') }}
)

select
    strays.customer_ref || '|' || to_char(strays.window_start at time zone 'utc', 'YYYY-MM')
    || '|' || coalesce(mappings.stripe_event_name, strays.meter) as usage_id,
    strays.customer_ref,
    date_trunc('month', strays.window_start, 'UTC') as period_start,
    date_trunc('month', strays.window_start, 'UTC') + interval '1 month' as period_end,
    settings.reporting_currency as currency,
    coalesce(mappings.stripe_event_name, strays.meter) as stripe_event_name,
    min(strays.meter) as meter,
    case
        when min(meters.formula) = 'count' then sum(strays.event_count)::numeric
        when min(meters.formula) = 'last' then max(strays.quantity_sum / strays.event_count)
        else sum(strays.quantity_sum)
    end as quantity,
    sum(strays.event_count) as event_count,
    bool_or(accounts.account_id is not null) as is_known_account
from {{ ref('stg_usage__unattributed') }} as strays
cross join {{ ref('stg_business__audit_settings') }} as settings
left join {{ ref('stg_business__meter_mappings') }} as mappings on strays.meter = mappings.meter
left join known_accounts as accounts on strays.customer_ref = accounts.account_id
left join {{ ref('stg_stripe__meters') }} as meters
    on coalesce(mappings.stripe_event_name, strays.meter) = meters.event_name and meters.status = 'active'
group by
    strays.customer_ref, to_char(strays.window_start at time zone 'utc', 'YYYY-MM'),
    date_trunc('month', strays.window_start, 'UTC'), settings.reporting_currency,
    coalesce(mappings.stripe_event_name, strays.meter)
