{{ config(severity='error', meta={'dagster': {'ref': {'name': 'int_usage__meter_windows'}}}) }}
-- A window of usage lies in one billing period exactly. One that reaches over a bound would give a part of its usage
-- to the wrong period. A window never leaves its UTC day, so only bounds of the same day can cut it.
with bounds as (
    select
        customer_id,
        period_start as cut_at
    from {{ ref('int_periods__item_periods') }}
    union
    select
        customer_id,
        period_end as cut_at
    from {{ ref('int_periods__item_periods') }}
)

select
    windows.customer_id,
    windows.meter,
    windows.source,
    windows.window_start,
    windows.window_end,
    bounds.cut_at
from {{ ref('int_usage__meter_windows') }} as windows
inner join bounds
    on
        windows.customer_id = bounds.customer_id
        and (windows.window_start at time zone 'utc')::date = (bounds.cut_at at time zone 'utc')::date
where bounds.cut_at > windows.window_start and bounds.cut_at < windows.window_end
