{{ config(severity='error', meta={'dagster': {'ref': {'name': 'int_bridge__subscription_periods'}}}) }}
-- Every licensed or metered item's period carries a charge in the bridge of its subscription: nothing that is billed
-- or used can fall out of the comparison on the way.
select
    periods.item_period_id,
    periods.usage_type,
    periods.period_start,
    periods.period_end
from {{ ref('int_periods__item_periods') }} as periods
left join {{ ref('int_bridge__charges') }} as charges on periods.item_period_id = charges.item_period_id
left join {{ ref('int_bridge__subscription_periods') }} as bridge
    on
        charges.scope_id = bridge.scope_id
        and periods.subscription_id = bridge.subscription_id
        and periods.period_start = bridge.period_start
        and periods.period_end = bridge.period_end
group by periods.item_period_id, periods.usage_type, periods.period_start, periods.period_end
having count(bridge.scope_id) = 0
