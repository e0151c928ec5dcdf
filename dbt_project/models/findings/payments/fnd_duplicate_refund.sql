-- Two or more refunds of one charge and one amount within 24 hours of each other (billing model 7.27): all but the
-- first. A refund that failed or was canceled gave nothing back.
with given_back as (
    select
        refunds.*,
        lag(refunds.created_at) over same_amount as previous_at,
        first_value(refunds.refund_id) over same_amount as first_refund_id,
        min(refunds.created_at) over same_amount as first_at
    from {{ ref('stg_stripe__refunds') }} as refunds
    where coalesce(refunds.status, 'succeeded') not in ('failed', 'canceled') and refunds.charge_id is not null
    window same_amount as (
        partition by refunds.charge_id, refunds.amount order by refunds.created_at, refunds.refund_id
    )
),

repeated as (
    select
        given_back.*,
        charges.customer_id,
        charges.subscription_id,
        charges.invoice_id,
        charges.currency_exponent,
        charges.amount as charge_amount
    from given_back
    inner join {{ ref('int_payments__charges') }} as charges on given_back.charge_id = charges.charge_id
    inner join {{ ref('int_periods__customers_in_scope') }} as scope on charges.customer_id = scope.customer_id
    where given_back.created_at - given_back.previous_at <= interval '24 hours'
)

select
    customer_id,
    subscription_id,
    'duplicate_refund' as leakage_type,
    'leak' as direction,
    null::text as meter,
    first_at as period_start,
    max(created_at) + interval '1 second' as period_end,
    'closed' as phase,
    currency,
    {{ to_currency_units('sum(amount)', 'currency_exponent') }} as leakage_amount,
    null::numeric as months,
    'refund' as cause,
    null::text as reason,
    array[]::text[] as doubts,
    'Charge ' || min(charge_id) || ' was refunded ' || {{ money_text('min(amount)', 'currency_exponent', 'currency') }}
    || ' ' || count(*) + 1 || ' times; one of them may have been meant.' as description,
    jsonb_build_object(
        'first_refund_id', min(first_refund_id),
        'charge_amount', {{ to_currency_units('min(charge_amount)', 'currency_exponent') }},
        'repeated', jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
            'refund_id', refund_id,
            'charge_id', charge_id,
            'invoice_id', invoice_id,
            'amount', {{ to_currency_units('amount', 'currency_exponent') }},
            'status', status,
            'reason', reason,
            'created_at', created_at
        )) order by created_at, refund_id)
    ) as evidence
from repeated
group by customer_id, subscription_id, currency, currency_exponent, first_at
