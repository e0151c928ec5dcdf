-- The next day: one customer in a hundred used something, and as many pay for another seat.
-- Parameters: as_of.
update raw_business.audit_settings set as_of = %(as_of)s;

create temporary table changed on commit drop as
select customer_id
from raw_stripe.customers
where right(customer_id, 2) = '01';

insert into raw_usage.usage_windows (
    customer_id, meter, source, window_start, window_end, event_count, quantity_sum, last_value, last_at, late_count,
    late_sum, duplicate_events
)
select
    changed.customer_id,
    meters.event_name,
    'gateway',
    cuts.window_start,
    cuts.window_end,
    50,
    321,
    321,
    cuts.window_start,
    0,
    0,
    0
from changed
inner join raw_stripe.subscriptions as subscriptions on changed.customer_id = subscriptions.customer_id
cross join raw_stripe.meters as meters
cross join lateral (
    select
        max(items.current_period_end) as cut_at
    from raw_stripe.subscription_items as items
    where items.subscription_id = subscriptions.subscription_id
) as periods
cross join lateral (
    select
        date_trunc('day', %(as_of)s::timestamptz) as window_start,
        least(
            date_trunc('day', %(as_of)s::timestamptz) + interval '1 day',
            case when periods.cut_at > date_trunc('day', %(as_of)s::timestamptz) then periods.cut_at end
        ) as window_end
) as cuts
on conflict do nothing;

update raw_stripe.subscription_items as items
set quantity = items.quantity + 1
from raw_stripe.subscriptions as subscriptions
inner join changed on subscriptions.customer_id = changed.customer_id
where items.subscription_id = subscriptions.subscription_id and items.quantity is not null;

-- As the load of the usage log does.
insert into ops.usage_written select customer_id from changed on conflict do nothing
