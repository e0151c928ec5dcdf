select
    -- ids
    invoice_id,
    number as invoice_number,
    customer_id,
    subscription_id,
    from_invoice_id,
    latest_revision_id,
    -- attributes
    status,
    billing_reason,
    collection_method,
    lower(currency) as currency,
    auto_advance,
    -- amounts in minor units
    subtotal,
    total,
    total_exclusive_tax,
    total_inclusive_tax,
    total_discount,
    total_pretax_credits,
    amount_shipping,
    amount_due,
    amount_paid,
    amount_remaining,
    (payload ->> 'amount_paid_off_stripe')::bigint as amount_paid_off_stripe,
    starting_balance,
    ending_balance,
    pre_payment_credit_notes_amount,
    post_payment_credit_notes_amount,
    -- timestamps
    created as created_at,
    finalized_at,
    paid_at,
    voided_at,
    due_date,
    automatically_finalizes_at,
    next_payment_attempt
from {{ source('raw_stripe', 'invoices') }}
