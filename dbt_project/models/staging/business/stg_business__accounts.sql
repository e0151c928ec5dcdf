select
    -- ids
    account_id,
    customer_id,
    -- attributes
    lower(trim(plan)) as plan_key,
    lower(status) as status,
    access_enabled as has_access,
    seats,
    features,
    health_score,
    churn_risk,
    owner_email,
    -- timestamps
    updated_at
from {{ source('raw_business', 'accounts') }}
