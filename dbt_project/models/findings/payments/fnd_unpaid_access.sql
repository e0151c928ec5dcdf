-- Access although the subscription is past due or unpaid for longer than the payment grace period: all that is left to
-- pay on its open invoices.
select
    customer_id,
    subscription_id,
    'unpaid_access' as leakage_type,
    'risk' as direction,
    null::text as meter,
    min(due_at) as period_start,
    as_of as period_end,
    'open' as phase,
    currency,
    {{ to_currency_units('sum(amount_remaining)', 'currency_exponent') }} as leakage_amount,
    null::numeric as months,
    subscription_status as cause,
    subscription_status as reason,
    array[]::text[] as doubts,
    'Access is on although ' || {{ money_text('sum(amount_remaining)', 'currency_exponent', 'currency') }}
    || ' of ' || count(*) || case when count(*) = 1 then ' invoice has' else ' invoices have' end
    || ' been due since ' || to_char(min(due_at) at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS')
    || ' UTC; the subscription is ' || replace(subscription_status, '_', ' ') || '.' as description,
    jsonb_build_object(
        'subscription_status', subscription_status,
        'account_ids', account_ids,
        'payment_grace_days', payment_grace_days,
        'due_since', min(due_at),
        'invoices', jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
            'invoice_id', invoice_id,
            'amount_remaining', {{ to_currency_units('amount_remaining', 'currency_exponent') }},
            'due_at', due_at,
            'attempt_count', attempt_count,
            'next_payment_attempt', next_payment_attempt,
            'failure_code', failure_code
        )) order by due_at, invoice_id)
    ) as evidence
from {{ ref('int_payments__open_invoices') }}
where is_unpaid_access
group by
    customer_id, subscription_id, subscription_status, account_ids, currency, currency_exponent, payment_grace_days,
    as_of
