-- What came back, when and by which action. A row exists only where a recovery action is confirmed by an amount that
-- Stripe reports, never because someone dismissed a finding.
select
    actions.action_id,
    actions.detection_id,
    detections.customer_id,
    detections.leakage_type,
    actions.action,
    actions.currency,
    actions.amount as recovered_amount,
    actions.executed_at as recovered_at
from {{ source('ops', 'recovery_actions') }} as actions
left join {{ ref('fct_leakage_detections') }} as detections on actions.detection_id = detections.detection_id
where actions.status = 'confirmed'
