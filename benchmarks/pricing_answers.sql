-- What the meters answer: as much as the log holds, less where the reporting leaks.
-- Parameters: as_of.
create temporary table open_usage on commit drop as
select
    requests.meter_id,
    requests.customer_id,
    case meters.formula
        when 'last' then (array_agg(windows.last_value order by windows.last_at desc))[1]
        else sum(windows.quantity_sum)
    end as quantity
from (
    select
        meter_id,
        customer_id,
        max(end_at) as end_at,
        max(start_at) as start_at
    from intermediate.int_usage__summary_requests
    where end_at > %(as_of)s::timestamptz - interval '1 minute'
    group by meter_id, customer_id
) as requests
inner join raw_stripe.meters as meters on requests.meter_id = meters.meter_id
inner join raw_usage.usage_windows as windows
    on
        requests.customer_id = windows.customer_id
        and meters.event_name = windows.meter
        -- The period begins within the minute before.
        and windows.window_start > requests.start_at - interval '1 minute'
group by requests.meter_id, requests.customer_id, meters.formula;
create index on open_usage (customer_id);
analyze open_usage;

truncate raw_stripe.meter_event_summaries;
insert into raw_stripe.meter_event_summaries (meter_id, customer_id, start_at, end_at, aggregated_value)
select
    requests.meter_id,
    requests.customer_id,
    requests.start_at,
    requests.end_at,
    case
        when requests.end_at > %(as_of)s::timestamptz - interval '1 minute' then open_usage.quantity
        else lines.quantity
    end
from intermediate.int_usage__summary_requests as requests
left join open_usage
    on requests.customer_id = open_usage.customer_id and requests.meter_id = open_usage.meter_id
left join raw_stripe.invoice_lines as lines
    on
        lines.line_id
        = 'il_si_' || substr(requests.meter_id, 5) || '_' || requests.customer_id || '_in_2_' || requests.customer_id;
analyze raw_stripe.meter_event_summaries
