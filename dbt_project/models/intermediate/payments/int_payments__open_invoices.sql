-- Debts: finalised invoices with money left to pay, what Stripe still does about each, and whether the product is open
-- to the debtor although the payment grace period is over. A debt is never in two findings: access goes first.
with last_failures as (
    select distinct on (invoice_id)
        invoice_id,
        charge_id,
        failure_code
    from {{ ref('int_payments__charges') }}
    where status = 'failed' and invoice_id is not null
    order by invoice_id, created_at desc, charge_id
),

debts as (
    select
        invoices.invoice_id,
        invoices.invoice_number,
        invoices.customer_id,
        invoices.subscription_id,
        subscriptions.status as subscription_status,
        invoices.currency,
        coalesce(currencies.exponent, 2) as currency_exponent,
        invoices.collection_method,
        invoices.amount_remaining,
        invoices.finalized_at,
        -- Without a due date Stripe charges at once.
        coalesce(invoices.due_date, invoices.finalized_at) as due_at,
        invoices.attempt_count,
        invoices.next_payment_attempt,
        coalesce(
            invoices.collection_method = 'charge_automatically'
            and invoices.attempt_count > 0
            and invoices.next_payment_attempt is null, false
        ) as is_exhausted,
        access.account_ids,
        settings.as_of,
        settings.payment_grace_days
    from {{ ref('stg_stripe__invoices') }} as invoices
    cross join {{ ref('stg_business__audit_settings') }} as settings
    inner join {{ ref('int_periods__customers_in_scope') }} as scope on invoices.customer_id = scope.customer_id
    left join {{ ref('stg_stripe__subscriptions') }} as subscriptions
        on invoices.subscription_id = subscriptions.subscription_id
    left join {{ ref('int_payments__access') }} as access on invoices.subscription_id = access.subscription_id
    left join {{ ref('currencies') }} as currencies on invoices.currency = currencies.currency
    where
        invoices.status = 'open'
        and invoices.amount_remaining > 0
        and invoices.finalized_at < settings.as_of
)

select
    debts.*,
    coalesce(
        debts.subscription_status in ('past_due', 'unpaid')
        and debts.account_ids is not null
        and min(debts.due_at) over (partition by debts.subscription_id)
        + make_interval(days => debts.payment_grace_days) < debts.as_of, false
    ) as is_unpaid_access,
    last_failures.charge_id as failed_charge_id,
    last_failures.failure_code
from debts
left join last_failures on debts.invoice_id = last_failures.invoice_id
