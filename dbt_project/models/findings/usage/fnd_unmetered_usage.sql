-- Usage that no authority prices for this customer: estimated at the lowest list rate that any plan or Stripe price has
-- for the meter, and without an amount where nobody prices the meter at all (billing model, section 4, 7.15, 7.29).
select
    usage.customer_id,
    usage.subscription_id,
    'unmetered_usage' as leakage_type,
    'leak' as direction,
    usage.meter,
    usage.period_start,
    usage.period_end,
    usage.phase,
    usage.currency,
    {{ to_currency_units('estimates.amount', 'usage.currency_exponent') }} as leakage_amount,
    usage.interval_months::numeric as months,
    usage.meter as cause,
    case
        when estimates.amount is null then 'nobody_prices_it'
        when usage.included_quantity is not null then 'above_included_quantity'
        else 'no_price_for_customer'
    end as reason,
    array_remove(array[
        case when usage.phase = 'open' then 'period_open' end, case when meters.is_unmapped then 'meter_unmapped' end
    ], null) as doubts,
    {{ quantity_text('usage.quantity') }} || ' ' || usage.meter || ' used in '
    || {{ period_text('usage.period_start', 'usage.period_end') }}
    || case
        when usage.included_quantity is not null
            then
                ' above the ' || {{ quantity_text('usage.included_quantity') }}
                || ' included, for which no rate is agreed'
        else ', for which neither contract, price book nor subscription has a price'
    end
    || case
        when estimates.amount is null then '; nobody prices the meter.'
        else
            '; at the lowest list rate ' || {{ money_text(
                'estimates.amount', 'usage.currency_exponent', 'usage.currency'
            ) }} || '.'
    end as description,
    jsonb_strip_nulls(jsonb_build_object(
        'meter', usage.meter,
        'stripe_event_name', usage.stripe_event_name,
        'quantity', usage.quantity,
        'included_quantity', usage.included_quantity,
        'event_count', usage.event_count,
        'sources', usage.sources,
        'rate_id', estimates.rate_id,
        'rate_tiers_in_minor_units', estimates.tiers
    )) as evidence
from {{ ref('int_usage__unpriced') }} as usage
left join {{ ref('int_usage__estimates') }} as estimates on usage.usage_id = estimates.usage_id
left join {{ ref('int_quality__usage_meters') }} as meters on usage.meter = meters.meter
