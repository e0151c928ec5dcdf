-- How every finalised invoice was settled: credited before payment, paid from the customer's balance, paid through
-- Stripe or outside of it, still open or given up; and what was credited and refunded afterwards. Billed amounts are
-- unchanged by all of this, which is why it stands here and not in the bridge.
with finalized as (
    select
        invoices.*,
        coalesce(currencies.exponent, 2) as currency_exponent,
        coalesce(invoices.pre_payment_credit_notes_amount, 0) as credited_before,
        -- A balance that grows pays: the customer's credit is negative.
        coalesce(invoices.ending_balance - invoices.starting_balance, 0) as balance_applied,
        least(coalesce(invoices.amount_paid, 0), coalesce(invoices.amount_paid_off_stripe, 0)) as paid_elsewhere
    from {{ ref('stg_stripe__invoices') }} as invoices
    cross join {{ ref('stg_business__audit_settings') }} as settings
    left join {{ ref('currencies') }} as currencies on invoices.currency = currencies.currency
    where
        invoices.status in ('open', 'paid', 'uncollectible')
        and (invoices.finalized_at is null or invoices.finalized_at <= settings.as_of)
),

given_back as (
    select refunds.*
    from {{ ref('stg_stripe__refunds') }} as refunds
    cross join {{ ref('stg_business__audit_settings') }} as settings
    where refunds.status not in ('failed', 'canceled') and refunds.created_at <= settings.as_of
),

refunds as (
    -- An invoice is paid by a payment intent or by a charge alone; a refund names both.
    select
        payment_intent_id as payment_id,
        sum(amount) as refunded
    from given_back
    where payment_intent_id is not null
    group by payment_intent_id
    union all
    select
        charge_id as payment_id,
        sum(amount) as refunded
    from given_back
    where charge_id is not null
    group by charge_id
),

payments as (
    select
        payments.invoice_id,
        payments.invoice_payment_id,
        refunds.refunded,
        payments.amount_paid,
        sum(payments.amount_paid) over payment as paid_in_all,
        sum(payments.amount_paid) over (payment order by payments.invoice_payment_id) as paid_so_far
    from {{ ref('stg_stripe__invoice_payments') }} as payments
    inner join refunds on coalesce(payments.payment_intent_id, payments.charge_id) = refunds.payment_id
    where payments.status = 'paid' and payments.amount_paid > 0
    window payment as (partition by coalesce(payments.payment_intent_id, payments.charge_id))
),

refunded as (
    -- One payment may pay several invoices: each gets its share of the refund, and the shares add up.
    select
        invoice_id,
        sum(
            round(refunded * paid_so_far / paid_in_all)
            - round(refunded * (paid_so_far - amount_paid) / paid_in_all)
        ) as refunded
    from payments
    group by invoice_id
)

select
    finalized.invoice_id,
    finalized.invoice_number,
    finalized.customer_id,
    finalized.subscription_id,
    finalized.status,
    finalized.currency,
    finalized.finalized_at,
    {{ to_currency_units('finalized.total', 'finalized.currency_exponent') }} as total_amount,
    {{ to_currency_units('finalized.credited_before', 'finalized.currency_exponent') }}
        as credited_before_payment_amount,
    {{ to_currency_units('finalized.balance_applied', 'finalized.currency_exponent') }} as balance_applied_amount,
    {{ to_currency_units('finalized.amount_paid - finalized.paid_elsewhere', 'finalized.currency_exponent') }}
        as paid_amount,
    {{ to_currency_units('finalized.paid_elsewhere', 'finalized.currency_exponent') }} as paid_out_of_band_amount,
    {{ to_currency_units(
        "case when finalized.status = 'open' then finalized.amount_remaining else 0 end", 'finalized.currency_exponent'
    ) }} as open_amount,
    {{ to_currency_units(
        "case when finalized.status = 'uncollectible' then finalized.amount_remaining else 0 end",
        'finalized.currency_exponent'
    ) }} as uncollectible_amount,
    {{ to_currency_units(
        "finalized.total - finalized.credited_before - finalized.balance_applied - finalized.amount_paid
        - case when finalized.status = 'paid' then 0 else finalized.amount_remaining end",
        'finalized.currency_exponent'
    ) }} as unexplained_amount,
    {{ to_currency_units(
        'coalesce(finalized.post_payment_credit_notes_amount, 0)', 'finalized.currency_exponent'
    ) }} as credited_after_payment_amount,
    {{ to_currency_units('coalesce(refunded.refunded, 0)', 'finalized.currency_exponent') }} as refunded_amount
from finalized
left join refunded on finalized.invoice_id = refunded.invoice_id
