-- Collection is paused while the product is used: what the pause keeps as a draft or writes off, per period. Under a
-- pause that voids, nothing is owed (billing model 7.8).
select
    customer_id,
    subscription_id,
    'paused_collection' as leakage_type,
    'risk' as direction,
    null::text as meter,
    period_start,
    max(period_end) as period_end,
    'open' as phase,
    currency,
    {{ to_currency_units('sum(amount)', 'currency_exponent') }} as leakage_amount,
    max(interval_months)::numeric as months,
    min(hold_reason) as cause,
    min(hold_reason) as reason,
    array[]::text[] as doubts,
    'Collection is paused while the product is used: '
    || {{ money_text('sum(amount)', 'currency_exponent', 'currency') }} || ' of invoice '
    || string_agg(invoice_id, ', ' order by invoice_id)
    || case when min(hold_reason) = 'paused_as_draft' then ' is kept as a draft.' else ' was written off.' end
        as description,
    jsonb_strip_nulls(jsonb_build_object(
        'account_ids', account_ids,
        'invoices', jsonb_agg(jsonb_build_object(
            'invoice_id', invoice_id,
            'amount', {{ to_currency_units('amount', 'currency_exponent') }},
            'created_at', created_at
        ) order by invoice_id)
    )) as evidence
from {{ ref('int_payments__held_invoices') }}
where hold_reason in ('paused_as_draft', 'paused_as_uncollectible') and is_in_use
group by customer_id, subscription_id, account_ids, currency, currency_exponent, period_start
