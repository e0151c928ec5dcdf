{{ config(severity='warn', meta={'dagster': {'ref': {'name': 'stg_stripe__credit_notes'}}}) }}
-- The credit notes that were loaded come to what their invoices say was credited. Where they do not, a note is missing
-- or counted twice, and credited amounts of the bridge cannot be trusted.
with notes as (
    select
        invoice_id,
        sum(coalesce(pre_payment_amount, 0)) as before_payment,
        sum(coalesce(post_payment_amount, 0)) as after_payment
    from {{ of_all_customers(ref('stg_stripe__credit_notes'), 'raw_stripe', 'credit_notes') }}
    where status != 'void'
    group by invoice_id
)

select
    invoices.invoice_id,
    notes.before_payment,
    invoices.pre_payment_credit_notes_amount,
    notes.after_payment,
    invoices.post_payment_credit_notes_amount
from {{ of_all_customers(ref('stg_stripe__invoices'), 'raw_stripe', 'invoices') }} as invoices
left join notes on invoices.invoice_id = notes.invoice_id
where
    coalesce(notes.before_payment, 0) != coalesce(invoices.pre_payment_credit_notes_amount, 0)
    or coalesce(notes.after_payment, 0) != coalesce(invoices.post_payment_credit_notes_amount, 0)
