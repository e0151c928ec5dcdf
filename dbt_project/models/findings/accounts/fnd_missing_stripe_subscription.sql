-- An account in service that no subscription pays for: the monthly price of its plan for every month of service that is
-- known (billing model 7.31). One row per customer and month; accounts that began together are added up.
with months as (
    select
        accounts.*,
        months.period_start,
        months.period_end,
        months.phase,
        settings.as_of,
        settings.reporting_currency
    from {{ ref('int_accounts__unsubscribed') }} as accounts
    cross join {{ ref('stg_business__audit_settings') }} as settings
    {{ months_since('months', 'accounts.served_since') }}
    where months.period_start < settings.as_of
),

-- In the customer's currency, else the reporting one, else the first that the plan is listed in.
in_currency as (
    select
        months.*,
        states.plan_key,
        states.seats,
        listed.billing_currency
    from months
    inner join {{ ref('int_accounts__states') }} as states
        on
            months.account_id = states.account_id
            and states.is_served
            and {{ state_holds('states', 'months.phase', 'months.period_start', 'months.as_of') }}
    inner join lateral (
        select
            coalesce(
                max(list.currency) filter (where list.currency = months.currency),
                max(list.currency) filter (where list.currency = months.reporting_currency),
                min(list.currency)
            ) as billing_currency
        from {{ ref('int_terms__list_prices') }} as list
        where states.plan_key = list.plan_key
    ) as listed on true
),

priced as (
    select
        in_currency.*,
        list.price_book_id,
        list.price as unit_price,
        case when list.seats_included = 1 then greatest(1, coalesce(in_currency.seats, 1)) else 1 end as quantity,
        coalesce(currencies.exponent, 2) as currency_exponent
    from in_currency
    left join {{ ref('currencies') }} as currencies on in_currency.billing_currency = currencies.currency
    {{ monthly_list_price(
        'list', 'in_currency.plan_key', 'in_currency.billing_currency', 'in_currency.period_start'
    ) }}
    where list.price > 0
)

select
    customer_id,
    null::text as subscription_id,
    'missing_stripe_subscription' as leakage_type,
    'leak' as direction,
    null::text as meter,
    period_start,
    period_end,
    phase,
    billing_currency as currency,
    sum(round(unit_price * quantity, currency_exponent)) as leakage_amount,
    1::numeric as months,
    min(reason) as cause,
    min(reason) as reason,
    array_remove(array[
        case when phase = 'open' then 'period_open' end,
        case
            when bool_or(reason in ('unknown_customer', 'no_customer_id', 'deleted_customer')) then 'customer_unknown'
        end
    ], null) as doubts,
    'No subscription pays for account ' || string_agg(account_id, ', ' order by account_id) || ', in service since '
    || to_char(min(served_since) at time zone 'utc', 'YYYY-MM-DD') || ' on plan '
    || string_agg(distinct plan_key, ', ') || ': ' || sum(round(unit_price * quantity, currency_exponent))::text || ' '
    || upper(billing_currency) || ' a month by the price book.' as description,
    jsonb_build_object('accounts', jsonb_agg(jsonb_build_object(
        'account_id', account_id,
        'reason', reason,
        'served_since', served_since,
        'plan', plan_key,
        'price_book_id', price_book_id,
        'monthly_unit_price', unit_price,
        'quantity', quantity
    ) order by account_id)) as evidence
from priced
group by customer_id, period_start, period_end, phase, billing_currency
