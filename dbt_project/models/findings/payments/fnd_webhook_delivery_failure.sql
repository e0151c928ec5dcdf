-- Events that no webhook endpoint took within a day, by subscription, endpoint and type: the product may not know that
-- a customer has paid or left. The money is that of the paid invoices concerned, each once over all types; unpaid and
-- disputed ones are risks of their own.
with concerned as (
    select
        events.customer_id,
        coalesce(invoices.subscription_id, events.subscription_id) as subscription_id,
        invoices.currency,
        invoices.invoice_id,
        invoices.total - coalesce(invoices.total_exclusive_tax, 0) as amount,
        events.event_id,
        events.event_type,
        events.created_at,
        events.changed,
        events.candidates,
        events.endpoint_url,
        events.endpoint_status,
        coalesce(
            events.webhook_endpoint_id,
            case when events.endpoint_count > 1 then 'several endpoints' else 'unknown endpoint' end
        ) as endpoint,
        case
            when events.event_type like '%dispute%' then 'that a payment is disputed'
            when events.event_type like '%refund%' then 'that money went back'
            when events.event_type ~ '(paid|succeeded)$' then 'that money came in'
            when events.event_type like '%failed%' then 'that a payment failed'
            when events.event_type = 'customer.subscription.deleted' then 'that the subscription has ended'
            when events.event_type = 'customer.subscription.created' then 'that there is a subscription'
            when events.event_type like 'customer.subscription.%' then 'that the subscription has changed'
            else 'what has happened'
        end as missed,
        -- An invoice counts once, however many of its events were lost.
        row_number() over (partition by invoices.invoice_id order by events.created_at, events.event_id) as nth
    from {{ ref('int_payments__undelivered_events') }} as events
    inner join {{ ref('int_periods__customers_in_scope') }} as scope on events.customer_id = scope.customer_id
    inner join {{ ref('stg_stripe__invoices') }} as invoices on events.invoice_id = invoices.invoice_id
    where
        invoices.status = 'paid'
        and invoices.total > coalesce(invoices.total_exclusive_tax, 0)
        and not exists (
            select 1
            from {{ ref('stg_stripe__disputes') }} as disputes
            inner join {{ ref('int_payments__charges') }} as charges on disputes.charge_id = charges.charge_id
            where charges.invoice_id = invoices.invoice_id and disputes.status not in ('won', 'warning_closed')
        )
)

select
    concerned.customer_id,
    concerned.subscription_id,
    'webhook_delivery_failure' as leakage_type,
    'risk' as direction,
    null::text as meter,
    min(concerned.created_at) as period_start,
    settings.as_of as period_end,
    'open' as phase,
    concerned.currency,
    -- Null where another type's finding counts the money of all these invoices.
    {{ to_currency_units(
        'sum(concerned.amount) filter (where concerned.nth = 1)', 'coalesce(currencies.exponent, 2)'
    ) }} as leakage_amount,
    null::numeric as months,
    concerned.endpoint || ': ' || concerned.event_type as cause,
    null::text as reason,
    array[]::text[] as doubts,
    count(*) || ' ' || concerned.event_type || case when count(*) = 1 then ' event was' else ' events were' end
    || ' not delivered' || coalesce(' to ' || min(concerned.endpoint_url), '') || ' since '
    || to_char(min(concerned.created_at) at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS')
    || ' UTC: the product was not told ' || concerned.missed || '.' as description,
    jsonb_strip_nulls(jsonb_build_object(
        'event_type', concerned.event_type,
        'missed', concerned.missed,
        'endpoint', concerned.endpoint,
        'endpoints', (array_agg(concerned.candidates))[1],
        'endpoint_status', min(concerned.endpoint_status),
        'invoice_ids', to_jsonb(array_agg(distinct concerned.invoice_id)),
        'events', jsonb_agg(jsonb_build_object(
            'event_id', concerned.event_id,
            'type', concerned.event_type,
            'created_at', concerned.created_at,
            'changed', concerned.changed,
            'invoice_id', concerned.invoice_id,
            'amount', case
                when concerned.nth = 1
                    then {{ to_currency_units('concerned.amount', 'coalesce(currencies.exponent, 2)') }}
            end
        ) order by concerned.created_at, concerned.event_id)
    )) as evidence
from concerned
cross join {{ ref('stg_business__audit_settings') }} as settings
left join {{ ref('currencies') }} as currencies on concerned.currency = currencies.currency
group by
    concerned.customer_id, concerned.subscription_id, concerned.currency, concerned.endpoint, concerned.event_type,
    concerned.missed, currencies.exponent, settings.as_of
