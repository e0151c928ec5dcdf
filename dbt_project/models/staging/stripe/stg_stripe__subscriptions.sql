select
    -- ids
    subscription_id,
    customer_id,
    schedule_id,
    latest_invoice_id,
    account_id,
    default_payment_method_id,
    -- attributes
    status,
    lower(currency) as currency,
    billing_mode,
    collection_method,
    cancel_at_period_end,
    pause_behavior,
    proration_discounts,
    status_details,
    pending_update,
    -- timestamps
    billing_cycle_anchor,
    start_date as started_at,
    created as created_at,
    trial_start as trial_started_at,
    trial_end as trial_ended_at,
    cancel_at,
    canceled_at,
    ended_at,
    pause_resumes_at,
    pause_transitioned_at,
    billing_mode_updated_at
from {{ source('raw_stripe', 'subscriptions') }}
