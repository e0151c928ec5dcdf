select
    -- the run
    as_of,
    company,
    lower(reporting_currency) as reporting_currency,
    lookback_periods,
    -- policy
    usage_tolerance_pct,
    min_amount,
    severity_medium,
    severity_high,
    severity_critical,
    payment_grace_days,
    invoice_grace_days,
    refund_window_days,
    soft_cap_pct,
    finalization_delay_hours,
    -- rollout
    rollout_customers,
    rollout_created_after,
    rollout_max_customers
from {{ source('raw_business', 'audit_settings') }}
