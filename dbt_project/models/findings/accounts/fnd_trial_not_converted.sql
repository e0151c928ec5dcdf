-- The trial is over, the product still gives access, and nothing was ever billed: the monthly price of the plan for
-- every month of access since (billing model 7.31). A customer that another live subscription pays for is converted.
with months as (
    select
        trials.*,
        months.period_start,
        months.period_end,
        months.phase,
        settings.as_of
    from {{ ref('int_accounts__unconverted_trials') }} as trials
    cross join {{ ref('stg_business__audit_settings') }} as settings
    {{ months_since('months', 'trials.trial_over_at') }}
    where months.period_start < settings.as_of
),

accessed as (
    select
        months.*,
        states.account_id,
        states.status as account_status,
        states.updated_at
    from months
    inner join {{ ref('int_accounts__reconciliation') }} as pairs
        on months.subscription_id = pairs.subscription_id and pairs.is_payer
    inner join {{ ref('int_accounts__states') }} as states
        on
            pairs.account_id = states.account_id
            and states.has_access
            and {{ state_holds('states', 'months.phase', 'months.period_start', 'months.as_of') }}
),

priced as (
    select distinct on (accessed.subscription_id, accessed.period_start)
        accessed.*,
        contracts.contract_id,
        list.price_book_id,
        case
            when contracts.base_price is not null then contracts.base_price / contracts.contract_months
            when list.price is not null and accessed.price_created_at <= list.effective_from then list.price
            when accessed.interval_months > 0
                then
                    {{ to_currency_units('accessed.unit_amount_decimal', 'accessed.currency_exponent') }}
                    / accessed.interval_months
        end as unit_price
    from accessed
    left join {{ ref('int_accounts__contract_prices') }} as contracts
        on
            accessed.customer_id = contracts.customer_id
            and accessed.currency = contracts.currency
            and accessed.plan_key = coalesce(contracts.plan_key, accessed.plan_key)
            and accessed.period_start >= contracts.effective_from
            and (contracts.effective_until is null or accessed.period_start < contracts.effective_until)
    {{ monthly_list_price('list', 'accessed.plan_key', 'accessed.currency', 'accessed.period_start') }}
    order by
        accessed.subscription_id, accessed.period_start, contracts.effective_from desc nulls last, accessed.account_id
)

select
    customer_id,
    subscription_id,
    'trial_not_converted' as leakage_type,
    'leak' as direction,
    null::text as meter,
    period_start,
    period_end,
    phase,
    currency,
    round(unit_price * quantity, currency_exponent) as leakage_amount,
    1::numeric as months,
    plan_key as cause,
    case status when 'canceled' then 'cancelled_unbilled' when 'paused' then 'paused_unbilled' else 'never_billed' end
        as reason,
    array_remove(array[case when phase = 'open' then 'period_open' end], null) as doubts,
    'The trial of account ' || account_id || ' ended on '
    || to_char(trial_over_at at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS')
    || ' UTC; it still has access and nothing was billed since: plan ' || plan_key || ' costs '
    || round(unit_price * quantity, currency_exponent)::text || ' ' || upper(currency) || ' a month.' as description,
    jsonb_strip_nulls(jsonb_build_object(
        'account_id', account_id,
        'account_status', account_status,
        'account_updated_at', updated_at,
        'trial_over_at', trial_over_at,
        'subscription_status', status,
        'plan', plan_key,
        'contract_id', contract_id,
        'price_book_id', price_book_id,
        'stripe_price_id', price_id,
        'monthly_unit_price', unit_price,
        'quantity', quantity
    )) as evidence
from priced
where unit_price is not null
