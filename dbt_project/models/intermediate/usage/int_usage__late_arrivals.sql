-- Usage without received_at that an audit saw for the first time after the invoice of its period was finalised
-- (billing model 7.10), by the window it lies in now: a window may have been cut anew since. Audits of a past instant
-- do not know what was seen later.
select
    windows.customer_id,
    windows.meter,
    windows.source,
    windows.window_start,
    sum(arrivals.event_count)::bigint as late_count,
    sum(arrivals.quantity_sum) as late_sum
from {{ ref('stg_usage__late_arrivals') }} as arrivals
cross join {{ ref('stg_business__audit_settings') }} as settings
inner join {{ ref('stg_usage__windows') }} as windows
    on
        arrivals.customer_id = windows.customer_id
        and arrivals.meter = windows.meter
        and arrivals.source = windows.source
        and arrivals.window_start >= windows.window_start
        and arrivals.window_start < windows.window_end
left join {{ ref('stg_business__meter_mappings') }} as mappings on arrivals.meter = mappings.meter
where
    arrivals.seen_at <= settings.as_of
    and arrivals.seen_at >= (
        select max(finalizations.finalized_at)
        from {{ ref('int_periods__usage_finalizations') }} as finalizations
        where
            arrivals.customer_id = finalizations.customer_id
            and coalesce(mappings.stripe_event_name, arrivals.meter) = finalizations.stripe_event_name
            and arrivals.window_start >= finalizations.period_start
            and arrivals.window_start < finalizations.period_end
    )
group by windows.customer_id, windows.meter, windows.source, windows.window_start
