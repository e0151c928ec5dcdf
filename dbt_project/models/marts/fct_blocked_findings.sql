-- Findings that are not published because the data cannot carry them, and what is wrong with the data.
select
    judged.detection_id,
    blocks.blocked_by,
    blocks.explanation,
    judged.customer_id,
    judged.subscription_id,
    judged.leakage_type,
    judged.direction,
    judged.meter,
    judged.period_start,
    judged.period_end,
    judged.phase,
    judged.currency,
    judged.leakage_amount as blocked_amount,
    judged.description
from {{ ref('int_quality__usage_blocks') }} as blocks
inner join {{ ref('int_findings__judged') }} as judged on blocks.detection_id = judged.detection_id
where judged.exception_id is null
