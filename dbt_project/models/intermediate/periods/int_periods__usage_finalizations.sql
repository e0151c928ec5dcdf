-- When the invoice that bills a metered period was finalised: usage that reached the log later is late usage. The meter
-- is that of the line's price, which the item may have no more.
select
    periods.customer_id,
    coalesce(meters.event_name, periods.stripe_event_name) as stripe_event_name,
    periods.period_start,
    periods.period_end,
    max(invoices.finalized_at) as finalized_at
from {{ ref('int_periods__item_periods') }} as periods
inner join {{ ref('stg_stripe__invoice_lines') }} as lines
    on
        periods.subscription_item_id = lines.subscription_item_id
        and periods.period_start <= lines.period_start
        and periods.period_end > lines.period_start
inner join {{ ref('stg_stripe__invoices') }} as invoices on lines.invoice_id = invoices.invoice_id
left join {{ ref('stg_stripe__prices') }} as prices on lines.price_id = prices.price_id
left join {{ ref('stg_stripe__meters') }} as meters on prices.meter_id = meters.meter_id
where
    periods.usage_type = 'metered'
    and periods.stripe_event_name is not null
    and invoices.status in ('open', 'paid', 'uncollectible')
    and invoices.finalized_at <= periods.as_of
group by
    periods.customer_id, coalesce(meters.event_name, periods.stripe_event_name), periods.period_start,
    periods.period_end
