-- Shortfalls to minimum commitments by the period that carries them: one per span of a contract that could be judged.
select
    scope_id,
    contract_id,
    minimum_commitment,
    span_start,
    span_end,
    subscription_count,
    expected_net,
    shortfall
from {{ ref('int_bridge__commitments') }}
where not_judged_because is null
