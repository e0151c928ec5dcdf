-- Contracts that name a price of their own, for what is owed where no subscription's period could carry the contract.
select
    contract_id,
    customer_id,
    plan_key,
    currency,
    base_price * (1 - coalesce(discount_percent, 0) / 100) as base_price,
    {{ interval_months("coalesce(billing_interval, 'month')", '1') }} as contract_months,
    effective_from,
    effective_until
from {{ ref('stg_business__contracts') }}
where base_price is not null
