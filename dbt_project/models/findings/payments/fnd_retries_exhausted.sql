-- Stripe has tried to charge and will not try again: what is left to pay. A debtor who still has access after the grace
-- period is unpaid_access instead.
select
    customer_id,
    subscription_id,
    'retries_exhausted' as leakage_type,
    'risk' as direction,
    null::text as meter,
    finalized_at as period_start,
    as_of as period_end,
    'open' as phase,
    currency,
    {{ to_currency_units('sum(amount_remaining)', 'currency_exponent') }} as leakage_amount,
    null::numeric as months,
    coalesce(min(failure_code), 'unknown') as cause,
    null::text as reason,
    array[]::text[] as doubts,
    'Stripe stopped after ' || max(attempt_count)
    || case when max(attempt_count) = 1 then ' attempt' else ' attempts' end || ' to collect '
    || {{ money_text('sum(amount_remaining)', 'currency_exponent', 'currency') }} || ' of invoice '
    || string_agg(coalesce(invoice_number, invoice_id), ', ' order by invoice_id)
    || coalesce(' (' || replace(min(failure_code), '_', ' ') || ')', '') || '.' as description,
    jsonb_build_object('invoices', jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
        'invoice_id', invoice_id,
        'amount_remaining', {{ to_currency_units('amount_remaining', 'currency_exponent') }},
        'finalized_at', finalized_at,
        'attempt_count', attempt_count,
        'subscription_status', subscription_status,
        'charge_id', failed_charge_id,
        'failure_code', failure_code
    )) order by invoice_id)) as evidence
from {{ ref('int_payments__open_invoices') }}
where is_exhausted and not is_unpaid_access
group by customer_id, subscription_id, currency, currency_exponent, finalized_at, as_of
