-- Meters whose usage was above the included quantity in the three newest closed periods of a subscription. One row per
-- subscription and meter.
with numbered as (
    select
        *,
        row_number() over (partition by subscription_id, stripe_event_name order by period_start desc) as periods_back
    from {{ ref('int_usage__limits') }}
    where phase = 'closed'
)

select
    subscription_id,
    stripe_event_name,
    min(meter) as meter,
    jsonb_agg(jsonb_build_object(
        'period_start', period_start, 'used_quantity', true_quantity, 'included_quantity', included_quantity
    ) order by period_start) as periods
from numbered
where periods_back <= 3 and used_percent > 100
group by subscription_id, stripe_event_name
having count(*) = 3
