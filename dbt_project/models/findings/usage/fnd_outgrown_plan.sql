-- A higher plan of the price book would have been cheaper for the newest closed period, or the usage was over the
-- included quantity in three closed periods running. The amount is what the customer pays above the higher plan's
-- price; empty where only the limit was crossed.
with options as (
    select
        options.scope_id,
        options.option_plan,
        options.option_price_book_id,
        max(options.option_fee) as option_fee,
        jsonb_agg(jsonb_build_object(
            'stripe_event_name', options.stripe_event_name,
            'quantity_above_included', options.quantity,
            'rate_id', options.rate_id,
            'rate_tiers_in_minor_units', estimates.tiers
        ) order by options.stripe_event_name) as option_usage,
        round(min(options.option_fee) * power(10::numeric, min(options.currency_exponent)))
        + coalesce(sum(estimates.amount), 0) as option_amount
    from {{ ref('int_usage__plan_options') }} as options
    left join {{ ref('int_usage__estimates') }} as estimates on options.usage_id = estimates.usage_id
    group by options.scope_id, options.option_plan, options.option_price_book_id
    having bool_and(estimates.amount is not null or options.quantity = 0)
),

own as (
    select
        scope_id,
        sum(expected_gross) as own_amount,
        jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
            'meter', meter, 'amount', {{ to_currency_units('expected_gross', 'currency_exponent') }}
        )) order by meter nulls first) as own_charges
    from {{ ref('int_bridge__components') }}
    group by scope_id
),

cheaper as (
    select distinct on (options.scope_id)
        options.*,
        own.own_amount,
        own.own_charges
    from options
    inner join own on options.scope_id = own.scope_id
    where options.option_amount < own.own_amount
    order by options.scope_id, options.option_amount, options.option_plan
),

over_limit as (
    select
        subscription_id,
        string_agg(meter, ', ' order by meter) as meters,
        jsonb_agg(jsonb_build_object('meter', meter, 'periods', periods) order by meter) as periods
    from {{ ref('int_usage__limits_outgrown') }}
    group by subscription_id
),

newest as (
    select distinct on (subscription_id) *
    from {{ ref('int_terms__scopes') }}
    where phase = 'closed' and has_licence
    order by subscription_id, period_start desc, period_end
)

select
    newest.customer_id,
    newest.subscription_id,
    'outgrown_plan' as leakage_type,
    'opportunity' as direction,
    null::text as meter,
    newest.period_start,
    newest.period_end,
    newest.phase,
    newest.currency,
    {{ to_currency_units('cheaper.own_amount - cheaper.option_amount', 'newest.currency_exponent') }} as leakage_amount,
    case when cheaper.scope_id is not null then plans.interval_months end::numeric as months,
    newest.plan_key as cause,
    case when cheaper.scope_id is not null then 'higher_plan_is_cheaper' else 'over_limit_three_periods' end as reason,
    array[]::text[] as doubts,
    case
        when cheaper.scope_id is not null
            then
                'Plan ' || newest.plan_key || ' came to '
                || {{ money_text('cheaper.own_amount', 'newest.currency_exponent', 'newest.currency') }}
                || ' with its usage; plan ' || cheaper.option_plan || ' would have been '
                || {{ money_text('cheaper.option_amount', 'newest.currency_exponent', 'newest.currency') }} || '.'
        else
            'Usage of ' || over_limit.meters || ' was above what plan ' || newest.plan_key
            || ' includes in three periods running.'
    end as description,
    jsonb_strip_nulls(jsonb_build_object(
        'plan', newest.plan_key,
        'higher_plan', cheaper.option_plan,
        'higher_plan_price_book_id', cheaper.option_price_book_id,
        'own_amount', {{ to_currency_units('cheaper.own_amount', 'newest.currency_exponent') }},
        'higher_plan_amount', {{ to_currency_units('cheaper.option_amount', 'newest.currency_exponent') }},
        'own_charges', cheaper.own_charges,
        'higher_plan_fee', cheaper.option_fee,
        'higher_plan_usage', cheaper.option_usage,
        'meters_over_limit', over_limit.periods
    )) as evidence
from newest
inner join {{ ref('int_terms__price_plans') }} as plans on newest.base_price_id = plans.price_id
left join cheaper on newest.scope_id = cheaper.scope_id
left join over_limit on newest.subscription_id = over_limit.subscription_id
inner join {{ ref('stg_stripe__subscriptions') }} as subscriptions
    on newest.subscription_id = subscriptions.subscription_id
where
    subscriptions.status in ('active', 'past_due')
    and (cheaper.scope_id is not null or over_limit.subscription_id is not null)
