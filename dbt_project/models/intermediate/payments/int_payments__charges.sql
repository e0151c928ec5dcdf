-- Every charge with the invoice and subscription that it was for: an invoice payment names the charge itself, or the
-- payment intent of which the charge was one attempt.
with named as (
    select
        charge_id,
        invoice_id,
        1 as nearness
    from {{ ref('stg_stripe__invoice_payments') }}
    where charge_id is not null
    union all
    select
        charges.charge_id,
        payments.invoice_id,
        2 as nearness
    from {{ ref('stg_stripe__charges') }} as charges
    inner join {{ ref('stg_stripe__invoice_payments') }} as payments
        on charges.payment_intent_id = payments.payment_intent_id
),

chosen as (
    select distinct on (charge_id)
        charge_id,
        invoice_id
    from named
    order by charge_id, nearness, invoice_id
)

select
    charges.charge_id,
    charges.payment_intent_id,
    coalesce(charges.customer_id, invoices.customer_id) as customer_id,
    chosen.invoice_id,
    invoices.subscription_id,
    charges.currency,
    coalesce(currencies.exponent, 2) as currency_exponent,
    charges.amount,
    charges.status,
    charges.failure_code,
    charges.created_at
from {{ ref('stg_stripe__charges') }} as charges
left join chosen on charges.charge_id = chosen.charge_id
left join {{ ref('stg_stripe__invoices') }} as invoices on chosen.invoice_id = invoices.invoice_id
left join {{ ref('currencies') }} as currencies on charges.currency = currencies.currency
