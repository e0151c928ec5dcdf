{{ config(severity='error', meta={'dagster': {'ref': {'name': 'fct_charge_calculation'}}}) }}
-- The tiers that a reader can recompute come to the amount that the bridge expects of the charge, before discounts.
with calculated as (
    select
        charge_id,
        sum(amount) as amount
    from {{ ref('fct_charge_calculation') }}
    group by charge_id
)

select
    charges.charge_id,
    calculated.amount as calculated_amount,
    {{ to_currency_units('charges.expected_gross', 'charges.currency_exponent') }} as expected_amount
from {{ ref('int_bridge__charges') }} as charges
left join calculated on charges.charge_id = calculated.charge_id
where
    not charges.cannot_rate
    and coalesce(calculated.amount, 0)
    != {{ to_currency_units('charges.expected_gross', 'charges.currency_exponent') }}
