select
    -- ids
    entitlements.entitlement_id,
    entitlements.customer_id,
    entitlements.feature_id,
    -- attributes
    lower(trim(entitlements.lookup_key)) as feature_key,
    features.active as is_active
from {{ source('raw_stripe', 'active_entitlements') }} as entitlements
left join {{ source('raw_stripe', 'features') }} as features on entitlements.feature_id = features.feature_id
