select
    -- ids
    contract_id,
    customer_id,
    -- terms in currency units
    lower(trim(plan)) as plan_key,
    base_price,
    lower(currency) as currency,
    lower("interval") as billing_interval,
    grace_percent,
    discount_percent,
    lower(discount_reason) as discount_reason,
    threshold_meter,
    threshold_min,
    minimum_commitment,
    coalesce(grandfathered, false) as is_grandfathered,
    -- validity
    effective_date,
    end_date,
    effective_from,
    effective_until
from {{ source('raw_business', 'contracts') }}
