select
    -- ids
    account_id,
    customer_id,
    -- attributes
    lower(trim(plan)) as plan_key,
    lower(status) as status,
    access_enabled as has_access,
    seats,
    case when features is not null then {{ feature_names('features') }} end as features,
    health_score,
    churn_risk,
    owner_email,
    -- timestamps
    updated_at,
    gone_since
from {{ source('raw_business', 'accounts') }}
