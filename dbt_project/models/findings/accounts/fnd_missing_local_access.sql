-- The customer pays for more than the product gives: for a higher plan (the difference of the list prices, at most what
-- was billed), or with access off (the licence as paid). One row per subscription and period.
with billed as (
    select
        components.scope_id,
        {{ to_currency_units(
            'greatest(0, components.billed_net - coalesce(periods.credited, 0))', 'components.currency_exponent'
        ) }} as billed_amount
    from {{ ref('int_bridge__components') }} as components
    inner join {{ ref('int_bridge__subscription_periods') }} as periods on components.scope_id = periods.scope_id
    where components.meter is null
),

shut_out as (
    select
        states.scope_id,
        min(states.account_id) as account_id,
        max(states.updated_at) as updated_at,
        max(states.candidate_count) as candidate_count
    from {{ ref('int_accounts__period_states') }} as states
    cross join {{ ref('stg_business__audit_settings') }} as settings
    group by states.scope_id
    having
        not bool_or(coalesce(states.has_access, true))
        and bool_and(states.is_base_period)
        -- Access went off so lately that Stripe may still be told.
        and not bool_or(
            states.has_earlier_access
            and states.access_since > settings.as_of - make_interval(days => settings.invoice_grace_days)
        )
),

-- What is paid already, while the subscription goes on: nothing is wrong with access off until a debt is paid, nor
-- with access off for the rest of a period that the customer has cancelled.
paid as (
    select
        scopes.scope_id,
        scopes.currency,
        base.interval_months
    from {{ ref('int_terms__scopes') }} as scopes
    inner join {{ ref('int_accounts__billing_states') }} as states on scopes.subscription_id = states.subscription_id
    inner join {{ ref('int_billed__periods') }} as periods on scopes.base_item_period_id = periods.item_period_id
    inner join {{ ref('int_terms__item_period_prices') }} as base on scopes.base_item_period_id = base.item_period_id
    where periods.paid_amount > 0 and states.billing_state = 'billing' and not states.is_leaving
),

found as (
    select
        gaps.scope_id,
        gaps.account_id,
        gaps.updated_at,
        gaps.candidate_count,
        gaps.interval_months,
        'lower_plan' as reason,
        least(-gaps.gap, billed.billed_amount) as amount,
        'The product gives account ' || gaps.account_id || ' plan ' || gaps.plan_key || ', Stripe bills '
        || gaps.billed_plan_key || ': ' || least(-gaps.gap, billed.billed_amount)::text || ' '
        || upper(gaps.currency) || ' more by the price book.' as description,
        jsonb_build_object(
            'product_plan', gaps.plan_key, 'product_plan_price', gaps.product_price,
            'product_units', gaps.product_units, 'billed_plan', gaps.billed_plan_key,
            'billed_plan_price', gaps.billed_price, 'billed_units', gaps.billed_units,
            'list_difference', -gaps.gap, 'billed_amount', billed.billed_amount
        ) as evidence
    from {{ ref('int_accounts__plan_gaps') }} as gaps
    inner join billed on gaps.scope_id = billed.scope_id
    where
        gaps.gap < 0
        and gaps.is_every_account
        -- The name of the plan is behind, the features are all there.
        and not coalesce(gaps.features @> gaps.billed_features and jsonb_array_length(gaps.billed_features) > 0, false)
    union all
    select
        shut_out.scope_id,
        shut_out.account_id,
        shut_out.updated_at,
        shut_out.candidate_count,
        paid.interval_months,
        'access_off' as reason,
        billed.billed_amount as amount,
        'Account ' || shut_out.account_id || ' has no access while its subscription is paid: '
        || billed.billed_amount::text || ' ' || upper(paid.currency) || '.' as description,
        jsonb_build_object('billed_amount', billed.billed_amount) as evidence
    from shut_out
    inner join paid on shut_out.scope_id = paid.scope_id
    inner join billed on shut_out.scope_id = billed.scope_id
)

select
    scopes.customer_id,
    scopes.subscription_id,
    'missing_local_access' as leakage_type,
    'overbilling' as direction,
    null::text as meter,
    scopes.period_start,
    scopes.period_end,
    scopes.phase,
    scopes.currency,
    found.amount as leakage_amount,
    found.interval_months::numeric as months,
    found.reason as cause,
    found.reason,
    array_remove(array[
        case when scopes.phase = 'open' then 'period_open' end,
        case when found.candidate_count > 1 then 'account_ambiguous' end
    ], null) as doubts,
    found.description,
    found.evidence || jsonb_build_object('account_id', found.account_id, 'account_updated_at', found.updated_at)
        as evidence
from found
inner join {{ ref('int_terms__scopes') }} as scopes on found.scope_id = scopes.scope_id
left join {{ ref('int_accounts__duplicates') }} as duplicates
    on scopes.base_item_period_id = duplicates.item_period_id
-- A surplus subscription is duplicate_subscription with its whole licence.
where duplicates.item_period_id is null
