-- The card that a subscription is charged on ends before the next charge or within 30 days; it is valid to the end of
-- its month (billing model 7.32). The licence fees of the next invoice, as last known.
with cards as (
    select
        payment_method_id,
        card_brand,
        card_last4,
        card_exp_month,
        card_exp_year,
        make_timestamptz(card_exp_year, card_exp_month, 1, 0, 0, 0, 'UTC') + interval '1 month' as ends_at
    from {{ ref('stg_stripe__payment_methods') }}
    where card_exp_month between 1 and 12 and card_exp_year between 1970 and 9999
)

select
    charges.customer_id,
    charges.subscription_id,
    'expiring_payment_method' as leakage_type,
    'risk' as direction,
    null::text as meter,
    charges.period_start,
    charges.next_charge_at as period_end,
    case
        when charges.next_charge_at + make_interval(hours => settings.finalization_delay_hours) <= settings.as_of
            then 'closed'
        else 'open'
    end as phase,
    charges.currency,
    {{ to_currency_units('charges.fee', 'charges.currency_exponent') }} as leakage_amount,
    null::numeric as months,
    to_char(cards.ends_at at time zone 'utc' - interval '1 day', 'YYYY-MM') as cause,
    case when cards.ends_at <= settings.as_of then 'expired' else 'expires_soon' end as reason,
    array[]::text[] as doubts,
    'The card ' || coalesce(cards.card_brand || ' ', '') || 'ending in ' || coalesce(cards.card_last4, 'unknown digits')
    || case when cards.ends_at <= settings.as_of then ' ended with ' else ' ends with ' end
    || to_char(cards.ends_at at time zone 'utc' - interval '1 day', 'YYYY-MM') || '; '
    || {{ money_text('charges.fee', 'charges.currency_exponent', 'charges.currency') }} || ' will be charged on '
    || to_char(charges.next_charge_at at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS') || ' UTC.' as description,
    jsonb_strip_nulls(jsonb_build_object(
        'payment_method_id', cards.payment_method_id,
        'card_brand', cards.card_brand,
        'card_last4', cards.card_last4,
        'card_exp_month', cards.card_exp_month,
        'card_exp_year', cards.card_exp_year,
        'is_subscription_default', subscriptions.default_payment_method_id is not null,
        'next_charge_at', charges.next_charge_at,
        'licence_fee', {{ to_currency_units('charges.fee', 'charges.currency_exponent') }}
    )) as evidence
from {{ ref('int_payments__next_charges') }} as charges
cross join {{ ref('stg_business__audit_settings') }} as settings
inner join {{ ref('stg_stripe__subscriptions') }} as subscriptions
    on charges.subscription_id = subscriptions.subscription_id
inner join {{ ref('stg_stripe__customers') }} as customers on charges.customer_id = customers.customer_id
inner join cards
    on coalesce(subscriptions.default_payment_method_id, customers.default_payment_method_id) = cards.payment_method_id
where
    charges.fee > 0
    and charges.period_start < charges.next_charge_at
    and (cards.ends_at <= charges.next_charge_at or cards.ends_at <= settings.as_of + interval '30 days')
