-- The product still gives access although the subscription that paid for the account has ended and no other pays: the
-- last plan's price for each period of access, counted from the cancellation in the last plan's interval.
with ended as (
    select distinct on (states.subscription_id)
        states.subscription_id,
        states.customer_id,
        states.ended_at,
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
    from {{ ref('int_accounts__billing_states') }} as states
    inner join {{ ref('int_terms__item_period_prices') }} as prices
        on states.subscription_id = prices.subscription_id and prices.usage_type = 'licensed'
    where states.billing_state = 'ended'
    order by states.subscription_id, prices.period_start desc, prices.unit_amount_decimal desc nulls last
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

phased as (
    select
        *,
        case when period_end <= closed_before then 'closed' else 'open' end as phase
    from pseudo_periods
    where period_start < as_of
),

accessed as (
    select distinct on (phased.subscription_id, phased.period_start)
        phased.*,
        states.account_id,
        states.updated_at,
        states.status as account_status
    from phased
    inner join {{ ref('int_accounts__reconciliation') }} as pairs
        on phased.subscription_id = pairs.subscription_id and pairs.is_payer
    inner join {{ ref('int_accounts__states') }} as states
        on
            pairs.account_id = states.account_id
            and states.has_access
            and {{ state_holds('states', 'phased.phase', 'phased.period_start', 'phased.as_of') }}
    order by phased.subscription_id, phased.period_start, states.account_id
),

priced as (
    select
        accessed.*,
        list.price_book_id,
        case
            when list.price is not null and accessed.price_created_at <= list.effective_from then list.price
            else {{ to_currency_units('accessed.unit_amount_decimal', 'accessed.currency_exponent') }}
        end as unit_price
    from accessed
    {{ list_price(
        'list', 'accessed.plan_key', 'accessed.currency', 'accessed.billing_interval', 'accessed.interval_count',
        'accessed.interval_months', 'accessed.period_start'
    ) }}
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
