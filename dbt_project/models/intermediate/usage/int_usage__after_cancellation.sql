-- Usage after a customer's last subscription ended, as one period from the cancellation to the next subscription or to
-- now (billing model 7.23). It is rated by what the ended subscription last charged for the meter.
with subscriptions as (
    select
        subscriptions.customer_id,
        subscriptions.subscription_id,
        subscriptions.currency,
        subscriptions.started_at,
        case when subscriptions.ended_at <= settings.as_of then subscriptions.ended_at end as ended_at,
        settings.as_of
    from {{ ref('stg_stripe__subscriptions') }} as subscriptions
    cross join {{ ref('stg_business__audit_settings') }} as settings
    inner join {{ ref('int_periods__customers_in_scope') }} as scope on subscriptions.customer_id = scope.customer_id
    where
        subscriptions.status not in ('incomplete', 'incomplete_expired')
        and subscriptions.started_at <= settings.as_of
),

-- From the end of a subscription on until the next one starts, where none other still runs.
lapses as (
    select distinct on (ended.customer_id, ended.ended_at)
        ended.customer_id,
        ended.subscription_id,
        ended.currency,
        ended.ended_at,
        ended.as_of,
        (
            select min(following.started_at) from subscriptions as following
            where following.customer_id = ended.customer_id and following.started_at >= ended.ended_at
        ) as resumed_at
    from subscriptions as ended
    where
        ended.ended_at is not null
        and not exists (
            select 1 from subscriptions as other
            where
                other.customer_id = ended.customer_id
                and other.started_at <= ended.ended_at
                and (other.ended_at is null or other.ended_at > ended.ended_at)
        )
    order by ended.customer_id, ended.ended_at, ended.subscription_id
),

last_terms as (
    select distinct on (subscription_id, stripe_event_name)
        subscription_id,
        stripe_event_name,
        expected_rate_id,
        authority,
        contract_id,
        price_book_id,
        price_id
    from {{ ref('int_terms__metered_terms') }}
    order by subscription_id, stripe_event_name, period_start desc, charge_id
),

used as (
    select
        lapses.customer_id,
        lapses.subscription_id,
        lapses.currency,
        lapses.ended_at,
        lapses.resumed_at,
        lapses.as_of,
        windows.stripe_event_name,
        min(windows.meter) as meter,
        case meters.formula
            when 'count' then sum(windows.event_count)::numeric
            when 'last' then (array_agg(windows.last_value order by windows.last_at desc, windows.source))[1]
            else sum(windows.quantity_sum)
        end as quantity,
        sum(windows.event_count) as event_count,
        max(windows.last_at) as last_used_at
    from lapses
    inner join {{ ref('int_usage__meter_windows') }} as windows
        on
            lapses.customer_id = windows.customer_id
            and lapses.ended_at <= windows.window_start
            and (lapses.resumed_at is null or lapses.resumed_at > windows.window_start)
    left join {{ ref('stg_stripe__meters') }} as meters
        on windows.stripe_event_name = meters.event_name and meters.status = 'active'
    group by
        lapses.customer_id, lapses.subscription_id, lapses.currency, lapses.ended_at, lapses.resumed_at, lapses.as_of,
        windows.stripe_event_name, meters.formula
)

select
    used.subscription_id || '|after|' || used.stripe_event_name as usage_id,
    used.customer_id,
    used.subscription_id,
    used.ended_at as period_start,
    coalesce(used.resumed_at, greatest(used.as_of, used.ended_at + interval '1 second')) as period_end,
    case when used.resumed_at is null then 'open' else 'closed' end as phase,
    used.currency,
    coalesce(currencies.exponent, 2) as currency_exponent,
    used.stripe_event_name,
    used.meter,
    used.quantity,
    used.event_count,
    used.last_used_at,
    last_terms.expected_rate_id as rate_id,
    last_terms.authority,
    last_terms.contract_id,
    last_terms.price_book_id,
    last_terms.price_id
from used
left join last_terms
    on used.subscription_id = last_terms.subscription_id and used.stripe_event_name = last_terms.stripe_event_name
left join {{ ref('currencies') }} as currencies on used.currency = currencies.currency
where used.quantity > 0
