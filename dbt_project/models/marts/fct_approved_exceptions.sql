-- What approved exceptions cover, with the amounts that would otherwise be findings.
select
    detection_id,
    exception_id,
    customer_id,
    subscription_id,
    leakage_type,
    direction,
    meter,
    period_start,
    period_end,
    phase,
    currency,
    leakage_amount as covered_amount,
    exception_reason as reason,
    approved_by,
    description
from {{ ref('int_findings__judged') }}
where exception_id is not null
