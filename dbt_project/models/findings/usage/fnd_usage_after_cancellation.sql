-- The product was used after the customer's subscription had ended: rated at what it last charged for the meter, as one
-- period from the cancellation on, without included quantity (billing model 7.23).
select
    usage.customer_id,
    usage.subscription_id,
    'usage_after_cancellation' as leakage_type,
    'leak' as direction,
    usage.meter,
    usage.period_start,
    usage.period_end,
    usage.phase,
    usage.currency,
    {{ to_currency_units('estimates.amount', 'usage.currency_exponent') }} as leakage_amount,
    -- A month has 30.4375 days on average; less than one counts as a whole.
    greatest(1, round(extract(epoch from usage.period_end - usage.period_start) / 2629800, 4)) as months,
    usage.meter as cause,
    case
        when estimates.amount is null then 'nobody_prices_it'
        when not estimates.is_own_rate then 'lowest_list_rate'
    end as reason,
    array_remove(array[
        case when usage.phase = 'open' then 'period_open' end,
        case when usage.authority = 'stripe' then 'stripe_price_only' end
    ], null) as doubts,
    {{ quantity_text('usage.quantity') }} || ' ' || usage.meter || ' used since the subscription ended on '
    || to_char(usage.period_start at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS') || ' UTC'
    || case
        when estimates.amount is null then '; nobody prices the meter.'
        else
            '; at its last rate ' || {{ money_text(
                'estimates.amount', 'usage.currency_exponent', 'usage.currency'
            ) }} || '.'
    end as description,
    jsonb_strip_nulls(jsonb_build_object(
        'meter', usage.meter,
        'quantity', usage.quantity,
        'event_count', usage.event_count,
        'last_used_at', usage.last_used_at,
        'authority', usage.authority,
        'contract_id', usage.contract_id,
        'price_book_id', usage.price_book_id,
        'stripe_price_id', usage.price_id,
        'rate_id', estimates.rate_id,
        'rate_tiers_in_minor_units', estimates.tiers
    )) as evidence
from {{ ref('int_usage__after_cancellation') }} as usage
left join {{ ref('int_usage__estimates') }} as estimates on usage.usage_id = estimates.usage_id
