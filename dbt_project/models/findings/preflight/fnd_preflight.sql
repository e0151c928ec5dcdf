-- What would go out wrong with a draft invoice, under the type that it would have once it is final: found while the
-- draft can still be mended. Several types share this model because one draft line is judged for all of them at once.
with parts as (
    select
        charges.*,
        part.leakage_type,
        part.direction,
        part.reason,
        part.amount
    from {{ ref('int_preflight__charges') }} as charges
    cross join
        lateral (
            values
            ('unreported_usage', 'leak', null, case when charges.is_usage_gap_published then charges.usage_part end),
            (
                'overbilled_usage',
                'overbilling',
                null,
                case when charges.is_usage_gap_published then -charges.usage_part end
            ),
            ('outdated_pricing', 'leak', null, charges.price_part),
            ('overbilled_price', 'overbilling', null, -charges.price_part),
            ('seat_leakage', 'leak', null, charges.quantity_part),
            ('incorrect_discount', 'leak', 'draft_discount', charges.discount_part),
            ('incorrect_discount', 'overbilling', 'draft_discount', -charges.discount_part),
            (
                case when charges.charge_kind = 'fee' then 'outdated_pricing' else 'missing_overage' end, 'leak',
                case when charges.charge_kind = 'fee' then 'line_edited' else 'line_too_low' end, charges.rating_part
            ),
            ('double_charge', 'overbilling', null, -charges.rating_part)
        ) as part (leakage_type, direction, reason, amount)
    where part.amount > 0
),

summed as (
    select
        customer_id,
        subscription_id,
        leakage_type,
        direction,
        meter,
        period_start,
        period_end,
        currency,
        currency_exponent,
        invoice_id,
        max(interval_months) as interval_months,
        max(reason) as reason,
        min(price_id) as price_id,
        sum(amount) as amount,
        sum(draft_net) as draft_net,
        sum(expected_net) as expected_net,
        max(finalises_at) as finalises_at,
        jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
            'charge_id', charge_id,
            'authority', authority,
            'contract_id', contract_id,
            'price_book_id', price_book_id,
            'stripe_price_id', price_id,
            'expected_quantity', expected_quantity,
            'draft_quantity', draft_quantity,
            'expected_net', {{ to_currency_units('expected_net', 'currency_exponent') }},
            'draft_net', {{ to_currency_units('draft_net', 'currency_exponent') }},
            'draft_line_ids', to_jsonb(line_ids),
            'draft_invoice_id', invoice_id
        )) order by charge_id) as charges
    from parts
    group by
        customer_id, subscription_id, leakage_type, direction, meter, period_start, period_end, currency,
        currency_exponent, invoice_id
)

select
    customer_id,
    subscription_id,
    leakage_type,
    direction,
    meter,
    period_start,
    period_end,
    'preflight' as phase,
    currency,
    {{ to_currency_units('amount', 'currency_exponent') }} as leakage_amount,
    interval_months::numeric as months,
    case when leakage_type in ('outdated_pricing', 'overbilled_price') then price_id else meter end as cause,
    reason,
    array['period_open'] as doubts,
    'Draft ' || invoice_id || ' would bill ' || {{ money_text('draft_net', 'currency_exponent', 'currency') }}
    || ' instead of ' || {{ money_text('expected_net', 'currency_exponent', 'currency') }}
    || coalesce(' for ' || meter, '')
    || ' in '
    || {{ period_text('period_start', 'period_end') }}
    || '.' as description,
    jsonb_strip_nulls(jsonb_build_object(
        'meter', meter,
        'reason', reason,
        'draft_invoice_id', invoice_id,
        'finalises_at', finalises_at,
        'charges', charges
    )) as evidence
from summed
