{{ config(severity='error', meta={'dagster': {'ref': {'name': 'int_usage__meter_windows'}}}) }}
-- A window of usage lies in one billing period exactly. One that reaches over a bound would give a part of its usage
-- to the wrong period. A window never leaves its UTC day, so only bounds of the same day can cut it.
select
    windows.customer_id,
    windows.meter,
    windows.source,
    windows.window_start,
    windows.window_end,
    cuts.cut_at
from {{ ref('int_usage__meter_windows') }} as windows
inner join {{ ref('int_periods__usage_cuts') }} as cuts
    on
        windows.customer_id = cuts.customer_id
        and (windows.window_start at time zone 'utc')::date = (cuts.cut_at at time zone 'utc')::date
where cuts.cut_at > windows.window_start and cuts.cut_at < windows.window_end
