{{ config(severity='error', meta={'dagster': {'ref': {'name': 'fct_invoice_settlement'}}}) }}
-- Every finalised invoice is settled in one row, and per currency the parts come to the totals of the invoices: none
-- is lost, and none counted twice by a join to its payments or refunds.
with invoices as (
    select
        invoices.currency,
        count(*) as invoice_count,
        sum({{ to_currency_units('invoices.total', 'coalesce(currencies.exponent, 2)') }}) as amount
    from {{ ref('stg_stripe__invoices') }} as invoices
    cross join {{ ref('stg_business__audit_settings') }} as settings
    left join {{ ref('currencies') }} as currencies on invoices.currency = currencies.currency
    where
        invoices.status in ('open', 'paid', 'uncollectible')
        and (invoices.finalized_at is null or invoices.finalized_at <= settings.as_of)
    group by invoices.currency
),

settled as (
    select
        currency,
        count(*) as invoice_count,
        sum(
            credited_before_payment_amount + balance_applied_amount + paid_amount + paid_out_of_band_amount
            + open_amount + uncollectible_amount + unexplained_amount
        ) as amount
    from {{ ref('fct_invoice_settlement') }}
    where {{ priced_tonight('customer_id') }}
    group by currency
)

select
    coalesce(invoices.currency, settled.currency) as currency,
    invoices.amount as invoiced_amount,
    settled.amount as settled_amount
from invoices
full outer join settled on invoices.currency = settled.currency
where
    invoices.amount is distinct from settled.amount
    or invoices.invoice_count is distinct from settled.invoice_count
