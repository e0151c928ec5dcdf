-- Charges whose money the customer's bank asks back, while nobody has decided yet.
select
    charges.customer_id,
    charges.subscription_id,
    'dispute_open' as leakage_type,
    'risk' as direction,
    null::text as meter,
    disputes.created_at as period_start,
    settings.as_of as period_end,
    'open' as phase,
    disputes.currency,
    {{ to_currency_units('sum(disputes.amount)', 'coalesce(currencies.exponent, 2)') }} as leakage_amount,
    null::numeric as months,
    min(disputes.reason) as cause,
    min(disputes.status) as reason,
    array[]::text[] as doubts,
    'The bank asks back '
    || {{ money_text('sum(disputes.amount)', 'coalesce(currencies.exponent, 2)', 'disputes.currency') }}
    || ' (' || replace(min(disputes.reason), '_', ' ') || '); the dispute is '
    || replace(min(disputes.status), '_', ' ')
    || coalesce(
        ', to be answered until '
        || to_char(min(disputes.evidence_due_by) at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS') || ' UTC', ''
    ) || '.' as description,
    jsonb_build_object('disputes', jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
        'dispute_id', disputes.dispute_id,
        'charge_id', disputes.charge_id,
        'invoice_id', charges.invoice_id,
        'amount', {{ to_currency_units('disputes.amount', 'coalesce(currencies.exponent, 2)') }},
        'status', disputes.status,
        'reason', disputes.reason,
        'evidence_due_by', disputes.evidence_due_by
    )) order by disputes.dispute_id)) as evidence
from {{ ref('stg_stripe__disputes') }} as disputes
cross join {{ ref('stg_business__audit_settings') }} as settings
inner join {{ ref('int_payments__charges') }} as charges on disputes.charge_id = charges.charge_id
inner join {{ ref('int_periods__customers_in_scope') }} as scope on charges.customer_id = scope.customer_id
left join {{ ref('currencies') }} as currencies on disputes.currency = currencies.currency
where
    disputes.status in (
        'needs_response', 'under_review', 'warning_needs_response', 'warning_under_review', 'appeal_needs_response',
        'appeal_under_review'
    )
    and disputes.created_at < settings.as_of
group by
    charges.customer_id, charges.subscription_id, disputes.currency, currencies.exponent, disputes.created_at,
    settings.as_of
