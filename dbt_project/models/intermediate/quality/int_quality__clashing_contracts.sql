-- Two contracts of one customer that rule the same time in the same currency for the same plan, or for any plan.
select
    contracts.contract_id,
    others.contract_id as other_contract_id,
    contracts.customer_id,
    greatest(contracts.effective_from, others.effective_from) as clash_from,
    least(contracts.effective_until, others.effective_until) as clash_until
from {{ ref('stg_business__contracts') }} as contracts
inner join {{ ref('stg_business__contracts') }} as others
    on
        contracts.customer_id = others.customer_id
        and contracts.contract_id < others.contract_id
        and coalesce(contracts.currency = others.currency, true)
        and coalesce(contracts.plan_key = others.plan_key, true)
        and contracts.effective_from < coalesce(others.effective_until, 'infinity')
        and others.effective_from < coalesce(contracts.effective_until, 'infinity')
