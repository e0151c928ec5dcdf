-- The product still gives access although every subscription of the customer has ended: the last plan's price for
-- each period of access, counted from the cancellation in the last plan's interval.
with ended as (
    select distinct on (subscriptions.customer_id)
        subscriptions.customer_id,
        subscriptions.subscription_id,
        subscriptions.ended_at,
        prices.price_id,
        prices.quantity,
        prices.plan_key,
        prices.currency,
        prices.currency_exponent,
        prices.unit_amount_decimal,
        prices.price_interval as billing_interval,
        prices.price_interval_count as interval_count,
        prices.interval_months,
        prices.price_created_at
    from {{ ref('stg_stripe__subscriptions') }} as subscriptions
    inner join {{ ref('int_terms__item_period_prices') }} as prices
        on subscriptions.subscription_id = prices.subscription_id and prices.usage_type = 'licensed'
    where
        subscriptions.status = 'canceled'
        and prices.ended_at is not null
        and not exists (
            select 1 from {{ ref('stg_stripe__subscriptions') }} as live
            where
                live.customer_id = subscriptions.customer_id
                and live.status not in ('incomplete', 'incomplete_expired')
                and (live.ended_at is null or live.ended_at > prices.as_of)
        )
    order by
        subscriptions.customer_id, subscriptions.ended_at desc, prices.period_start desc,
        prices.unit_amount_decimal desc nulls last
),

pseudo_periods as (
    select
        ended.*,
        settings.as_of,
        settings.as_of - make_interval(hours => settings.finalization_delay_hours) as closed_before,
        {{ add_billing_intervals('ended.ended_at', 'step.n', 'ended.billing_interval', 'ended.interval_count') }}
            as period_start,
        {{ add_billing_intervals('ended.ended_at', 'step.n + 1', 'ended.billing_interval', 'ended.interval_count') }}
            as period_end
    from ended
    cross join {{ ref('stg_business__audit_settings') }} as settings
    cross join lateral generate_series(
        greatest(0, {{ billing_intervals_between(
            'ended.ended_at', 'settings.as_of', 'ended.billing_interval', 'ended.interval_count'
        ) }} - settings.lookback_periods),
        {{ billing_intervals_between(
            'ended.ended_at', 'settings.as_of', 'ended.billing_interval', 'ended.interval_count'
        ) }} + 1
    ) as step (n)
),

accessed as (
    select
        periods.*,
        states.account_id,
        states.updated_at,
        states.status as account_status,
        case when periods.period_end <= periods.closed_before then 'closed' else 'open' end as phase
    from pseudo_periods as periods
    inner join {{ ref('int_accounts__states') }} as states
        on
            periods.customer_id = states.customer_id
            and states.has_access
            and states.updated_at
            <= case when periods.period_end <= periods.closed_before then periods.period_start else periods.as_of end
            and coalesce(states.replaced_at, 'infinity')
            > case when periods.period_end <= periods.closed_before then periods.period_start else periods.as_of end
    where periods.period_start < periods.as_of
),

priced as (
    select distinct on (accessed.customer_id, accessed.period_start)
        accessed.*,
        list.price_book_id,
        case
            when list.base_price is not null and accessed.price_created_at <= list.effective_from
                then list.base_price * case
                    when list.billing_interval = accessed.billing_interval and accessed.interval_count = 1 then 1
                    else accessed.interval_months
                end
            else {{ to_currency_units('accessed.unit_amount_decimal', 'accessed.currency_exponent') }}
        end as unit_price
    from accessed
    left join {{ ref('int_terms__list_prices') }} as list
        on
            accessed.plan_key = list.plan_key
            and accessed.currency = list.currency
            and list.billing_interval in (accessed.billing_interval, 'month')
            and accessed.period_start >= list.effective_from
            and (list.effective_until is null or accessed.period_start < list.effective_until)
    order by
        accessed.customer_id, accessed.period_start, list.billing_interval = accessed.billing_interval desc nulls last,
        accessed.account_id
)

select
    customer_id,
    subscription_id,
    'access_after_cancellation' as leakage_type,
    'leak' as direction,
    null::text as meter,
    period_start,
    period_end,
    phase,
    currency,
    round(unit_price * quantity, currency_exponent) as leakage_amount,
    interval_months::numeric as months,
    plan_key as cause,
    null::text as reason,
    array_remove(array[case when phase = 'open' then 'period_open' end], null) as doubts,
    'Account ' || account_id || ' still has access although its subscription ended on '
    || to_char(ended_at at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS') || ' UTC; plan ' || plan_key || ' costs '
    || round(unit_price * quantity, currency_exponent)::text || ' ' || upper(currency) || ' a period.' as description,
    jsonb_strip_nulls(jsonb_build_object(
        'account_id', account_id,
        'account_updated_at', updated_at,
        'account_status', account_status,
        'subscription_ended_at', ended_at,
        'plan', plan_key,
        'price_book_id', price_book_id,
        'stripe_price_id', price_id,
        'unit_price', unit_price,
        'quantity', quantity
    )) as evidence
from priced
where unit_price is not null
