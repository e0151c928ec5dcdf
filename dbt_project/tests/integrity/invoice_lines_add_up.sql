{{ config(severity='warn', meta={'dagster': {'ref': {'name': 'stg_stripe__invoices'}}}) }}
-- For every invoice: lines - discounts and billing credits + exclusive tax + shipping = total. Where it fails, a line
-- or a credit is missing from the load and no amount built on the invoice can be trusted.
with lines as (
    select
        invoice_id,
        sum(amount) as amount,
        sum(coalesce(discount_amount, 0)) as discount_amount,
        sum(coalesce(credit_balance_amount, 0)) as credit_balance_amount,
        sum(coalesce(exclusive_tax, 0)) as exclusive_tax
    from {{ of_all_customers(ref('stg_stripe__invoice_lines'), 'raw_stripe', 'invoice_lines') }}
    group by invoice_id
)

select
    invoices.invoice_id,
    invoices.total,
    lines.amount,
    lines.discount_amount,
    lines.credit_balance_amount,
    invoices.total_exclusive_tax
from {{ of_all_customers(ref('stg_stripe__invoices'), 'raw_stripe', 'invoices') }} as invoices
inner join lines on invoices.invoice_id = lines.invoice_id
where
    invoices.total != lines.amount
    - coalesce(
        invoices.total_pretax_credits,
        greatest(lines.discount_amount, coalesce(invoices.total_discount, 0)) + lines.credit_balance_amount
    )
    + coalesce(invoices.total_exclusive_tax, lines.exclusive_tax)
    + coalesce(invoices.amount_shipping, 0)
