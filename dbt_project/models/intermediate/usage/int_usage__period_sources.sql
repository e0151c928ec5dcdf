-- True usage of each charge by the source that emitted it: windows lie in one period exactly, so they only add up.
-- Usage inside a trial is free and left out.
select
    charges.charge_id,
    charges.formula,
    windows.source,
    min(windows.meter) as meter,
    sum(windows.quantity_sum) as quantity_sum,
    sum(windows.event_count) as event_count,
    -- The value of the newest window, without sorting every window of the night for it.
    (
        max(array[extract(epoch from windows.last_at), windows.last_value]) filter (where charges.formula = 'last')
    )[2] as last_value,
    max(windows.last_at) as last_at,
    sum(windows.late_sum) as late_sum,
    sum(windows.late_count) as late_count,
    sum(windows.duplicate_events) as duplicate_events
from {{ ref('int_terms__metered_charges') }} as charges
inner join {{ ref('int_terms__item_period_prices') }} as prices on charges.item_period_id = prices.item_period_id
inner join {{ ref('int_usage__meter_windows') }} as windows
    on
        prices.customer_id = windows.customer_id
        and charges.stripe_event_name = windows.stripe_event_name
        and windows.window_start >= greatest(prices.period_start, coalesce(prices.trial_ended_at, prices.period_start))
        and prices.period_end > windows.window_start
group by charges.charge_id, charges.formula, windows.source
