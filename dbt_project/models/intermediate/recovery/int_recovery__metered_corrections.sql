-- What we have told meters ourselves, by the charge that it raises: confirmed actions only, which the meter has shown.
with told as (
    select
        *,
        (after ->> 'metered')::numeric - (before ->> 'metered')::numeric as quantity_change
    from {{ source('ops', 'recovery_actions') }}
    where action = 'meter_event' and status = 'confirmed'
)

select
    charges.charge_id,
    actions.action_id,
    actions.detection_id,
    actions.sent_at,
    actions.quantity_change,
    sum(actions.quantity_change) over so_far as quantity_so_far,
    sum(actions.quantity_change) over whole as quantity_in_all
from told as actions
inner join {{ ref('int_periods__item_periods') }} as periods
    on
        actions.subscription_id = periods.subscription_id
        and actions.window_start = periods.period_start
inner join {{ ref('int_rating__charges') }} as charges
    on
        periods.item_period_id = charges.item_period_id
        and actions.request #>> '{0,params,event_name}' = charges.stripe_event_name
where charges.is_billed_by_stripe
window
    whole as (partition by charges.charge_id),
    so_far as (partition by charges.charge_id order by actions.sent_at, actions.action_id)
