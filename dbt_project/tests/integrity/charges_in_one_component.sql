{{ config(severity='error', meta={'dagster': {'ref': {'name': 'int_bridge__components'}}}) }}
-- Each charge that can be rated stands in exactly one component, so that no finding reads it twice and none misses it.
with rated as (
    select charge_id
    from {{ ref('int_bridge__charges') }}
    where not cannot_rate
),

placed as (
    select
        charge.value ->> 'charge_id' as charge_id,
        count(*) as component_count
    from {{ ref('int_bridge__components') }} as components
    cross join lateral jsonb_array_elements(components.evidence) as charge (value)
    group by charge.value ->> 'charge_id'
)

select
    coalesce(charges.charge_id, placed.charge_id) as charge_id,
    placed.component_count
from rated as charges
full outer join placed on charges.charge_id = placed.charge_id
where charges.charge_id is null or placed.component_count is distinct from 1
