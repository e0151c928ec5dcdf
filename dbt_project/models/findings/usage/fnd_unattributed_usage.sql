-- Usage of an id that is neither a customer at Stripe nor an account that leads to one: one row per id and month, the
-- id in the evidence (billing model 7.29). Without an amount where nobody prices any of its meters.
with months as (
    select
        usage.customer_ref,
        usage.period_start,
        usage.period_end,
        usage.currency,
        coalesce(currencies.exponent, 2) as currency_exponent,
        sum(estimates.amount) as amount,
        sum(usage.event_count) as event_count,
        bool_or(usage.is_known_account) as is_known_account,
        string_agg({{ quantity_text('usage.quantity') }} || ' ' || usage.meter, ', ' order by usage.meter)
            as quantities,
        jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
            'meter', usage.meter,
            'quantity', usage.quantity,
            'rate_id', estimates.rate_id,
            'rate_tiers_in_minor_units', estimates.tiers
        )) order by usage.meter) as meters
    from {{ ref('int_usage__unattributed') }} as usage
    left join {{ ref('int_usage__estimates') }} as estimates on usage.usage_id = estimates.usage_id
    left join {{ ref('currencies') }} as currencies on usage.currency = currencies.currency
    group by usage.customer_ref, usage.period_start, usage.period_end, usage.currency, currencies.exponent
)

select
    null::text as customer_id,
    null::text as subscription_id,
    'unattributed_usage' as leakage_type,
    'leak' as direction,
    null::text as meter,
    months.period_start,
    months.period_end,
    case
        when months.period_end + make_interval(hours => settings.finalization_delay_hours) <= settings.as_of
            then 'closed'
        else 'open'
    end as phase,
    months.currency,
    {{ to_currency_units('months.amount', 'months.currency_exponent') }} as leakage_amount,
    1::numeric as months,
    months.customer_ref as cause,
    case when months.is_known_account then 'account_without_customer' else 'unknown_id' end as reason,
    array_remove(array[
        case
            when months.period_end + make_interval(hours => settings.finalization_delay_hours) > settings.as_of
                then 'period_open'
        end
    ], null) as doubts,
    'Nobody at Stripe is ' || months.customer_ref || ', who used ' || months.quantities || ' in '
    || to_char(months.period_start at time zone 'utc', 'YYYY-MM')
    || case
        when months.amount is null then '; nobody prices that.'
        else
            '; at the lowest list rates ' || {{ money_text(
                'months.amount', 'months.currency_exponent', 'months.currency'
            ) }} || '.'
    end as description,
    jsonb_build_object(
        'customer_ref', months.customer_ref,
        'is_known_account', months.is_known_account,
        'event_count', months.event_count,
        'meters', months.meters
    ) as evidence
from months
cross join {{ ref('stg_business__audit_settings') }} as settings
