-- Usage of open periods in the windows of the last day. Companies report usage in batches: a gap no larger than this
-- may simply be on its way to Stripe, so its finding waits a night.
select
    charges.charge_id,
    sum(
        case charges.formula when 'count' then windows.event_count else windows.quantity_sum end
    ) as recent_quantity
from {{ ref('int_terms__metered_charges') }} as charges
inner join {{ ref('int_terms__item_period_prices') }} as prices on charges.item_period_id = prices.item_period_id
inner join {{ ref('int_usage__meter_windows') }} as windows
    on
        prices.customer_id = windows.customer_id
        and charges.stripe_event_name = windows.stripe_event_name
        and prices.period_start <= windows.window_start
        and prices.period_end > windows.window_start
where prices.phase = 'open' and windows.window_end > prices.as_of - interval '1 day'
group by charges.charge_id
