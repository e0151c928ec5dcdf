-- A live subscription of a customer without any account in the product: at risk is what it bills a period, the running
-- one when that is billed already, else the newest that was.
with billed as (
    select distinct on (periods.subscription_id)
        periods.subscription_id,
        periods.period_start,
        periods.period_end,
        periods.phase,
        periods.currency,
        periods.plan_key,
        {{ to_currency_units('periods.billed_net', 'periods.currency_exponent') }} as billed_amount
    from {{ ref('int_bridge__subscription_periods') }} as periods
    where periods.billed_net > 0
    order by periods.subscription_id, periods.period_start desc, periods.period_end
)

select
    orphans.customer_id,
    orphans.subscription_id,
    'orphaned_subscription' as leakage_type,
    'risk' as direction,
    null::text as meter,
    running.period_start,
    running.period_end,
    'open' as phase,
    billed.currency,
    billed.billed_amount as leakage_amount,
    null::numeric as months,
    orphans.reason as cause,
    orphans.reason,
    array[]::text[] as doubts,
    'Subscription ' || orphans.subscription_id || ' on plan ' || coalesce(billed.plan_key, 'unknown') || ' bills '
    || billed.billed_amount::text || ' ' || upper(billed.currency) || ' a period, and its customer has '
    || case orphans.reason when 'account_removed' then 'no account any more' else 'no account' end
    || ' in the product.' as description,
    jsonb_build_object(
        'plan', billed.plan_key,
        'billed_amount', billed.billed_amount,
        'billed_period_start', billed.period_start,
        'billed_period_end', billed.period_end,
        'share_of_customers_with_account', orphans.share_with_account
    ) as evidence
from {{ ref('int_accounts__orphans') }} as orphans
inner join billed on orphans.subscription_id = billed.subscription_id
inner join lateral (
    select
        scopes.period_start,
        scopes.period_end
    from {{ ref('int_terms__scopes') }} as scopes
    where orphans.subscription_id = scopes.subscription_id and scopes.phase = 'open'
    order by scopes.period_start, scopes.period_end
    limit 1
) as running on true
where orphans.is_judged
