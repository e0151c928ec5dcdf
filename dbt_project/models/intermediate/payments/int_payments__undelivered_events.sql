-- Events of the last 30 days that some webhook endpoint has not taken within a day, with the invoice whose money is
-- concerned and the endpoint, where only one wants events of the type.
with undelivered as (
    select events.*
    from {{ ref('stg_stripe__events') }} as events
    cross join {{ ref('stg_business__audit_settings') }} as settings
    where
        events.is_undelivered
        and events.created_at <= settings.as_of - interval '1 day'
        and events.created_at > settings.as_of - interval '30 days'
),

endpoints as (
    select
        wanted.event_type,
        count(*) as endpoint_count,
        min(endpoints.webhook_endpoint_id) as webhook_endpoint_id,
        -- The address may carry a token behind the question mark.
        min(split_part(endpoints.url, '?', 1)) as url,
        min(endpoints.status) as endpoint_status,
        jsonb_agg(endpoints.webhook_endpoint_id order by endpoints.webhook_endpoint_id) as candidates
    from (select distinct event_type from undelivered) as wanted
    inner join {{ ref('stg_stripe__webhook_endpoints') }} as endpoints
        on endpoints.enabled_events ?| array['*', wanted.event_type]
    group by wanted.event_type
),

intents as (
    select
        payment_intent_id,
        min(invoice_id) as invoice_id
    from {{ ref('stg_stripe__invoice_payments') }}
    where payment_intent_id is not null
    group by payment_intent_id
)

select
    undelivered.event_id,
    undelivered.event_type,
    undelivered.object_type,
    undelivered.object_id,
    undelivered.customer_id,
    undelivered.subscription_id,
    undelivered.pending_webhooks,
    undelivered.created_at,
    case undelivered.object_type
        when 'invoice' then undelivered.object_id
        when 'invoice_payment' then undelivered.data_object ->> 'invoice'
        when 'charge' then charges.invoice_id
        when 'payment_intent' then intents.invoice_id
        when 'subscription' then subscriptions.latest_invoice_id
    end as invoice_id,
    coalesce(endpoints.endpoint_count, 0) as endpoint_count,
    endpoints.candidates,
    (
        select jsonb_agg(attributes.name order by attributes.name)
        from jsonb_object_keys(undelivered.previous_attributes) as attributes (name)
    ) as changed,
    case when endpoints.endpoint_count = 1 then endpoints.webhook_endpoint_id end as webhook_endpoint_id,
    case when endpoints.endpoint_count = 1 then endpoints.url end as endpoint_url,
    case when endpoints.endpoint_count = 1 then endpoints.endpoint_status end as endpoint_status
from undelivered
left join endpoints on undelivered.event_type = endpoints.event_type
left join {{ ref('int_payments__charges') }} as charges
    on undelivered.object_type = 'charge' and undelivered.object_id = charges.charge_id
left join intents on undelivered.object_type = 'payment_intent' and undelivered.object_id = intents.payment_intent_id
left join {{ ref('stg_stripe__subscriptions') }} as subscriptions
    on undelivered.object_type = 'subscription' and undelivered.object_id = subscriptions.subscription_id
