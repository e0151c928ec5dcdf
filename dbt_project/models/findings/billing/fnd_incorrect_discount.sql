-- A discount that the customer is not entitled to, over all lines of the period; or one that the contract grants and
-- the invoice does not give (direction overbilling).
with discounted as (
    select
        components.scope_id,
        components.customer_id,
        components.subscription_id,
        components.period_start,
        components.period_end,
        components.phase,
        components.currency,
        components.currency_exponent,
        max(components.interval_months) as interval_months,
        -- What our own credit notes gave back for it is owed no more.
        sum(components.discount_gap_step)
        + case when sum(components.discount_gap_step) < 0 then sum(components.credited_for_discount) else 0 end
            as discount_gap,
        case when sum(components.discount_gap_step) < 0 then nullif(sum(components.credited_for_discount), 0) end
            as already_credited,
        sum(components.given_discount) as given_discount,
        sum(components.given_discount) - sum(components.discount_gap_step) as due_discount,
        jsonb_agg(components.evidence) as evidence
    from {{ ref('int_bridge__components') }} as components
    group by
        components.scope_id, components.customer_id, components.subscription_id, components.period_start,
        components.period_end, components.phase, components.currency, components.currency_exponent
    having
        sum(components.discount_gap_step) > 0
        or sum(components.discount_gap_step) + sum(components.credited_for_discount) < 0
),

reasons as (
    select distinct on (scopes.scope_id)
        scopes.scope_id,
        entitlements.*
    from {{ ref('int_terms__scopes') }} as scopes
    inner join {{ ref('int_periods__item_periods') }} as periods
        on
            scopes.subscription_id = periods.subscription_id
            and scopes.period_start = periods.period_start
            and scopes.period_end = periods.period_end
    inner join {{ ref('int_discounts__entitlements') }} as entitlements
        on periods.item_period_id = entitlements.item_period_id
    order by
        scopes.scope_id, entitlements.broken_rule is null, entitlements.broken_rule = 'coupon_without_contract',
        periods.item_period_id
)

select
    discounted.customer_id,
    discounted.subscription_id,
    'incorrect_discount' as leakage_type,
    case when discounted.discount_gap > 0 then 'leak' else 'overbilling' end as direction,
    null::text as meter,
    discounted.period_start,
    discounted.period_end,
    discounted.phase,
    discounted.currency,
    {{ to_currency_units('abs(discounted.discount_gap)', 'discounted.currency_exponent') }} as leakage_amount,
    discounted.interval_months::numeric as months,
    coalesce(reasons.coupon_id, reasons.contract_id) as cause,
    case when discounted.discount_gap > 0 then reasons.broken_rule else 'discount_not_given' end as reason,
    array_remove(array[
        case when discounted.phase = 'open' then 'period_open' end,
        case when reasons.broken_rule = 'coupon_without_contract' then 'coupon_without_contract' end
    ], null) as doubts,
    case
        when reasons.billed_percent != reasons.entitled_percent
            then
                'Discount of ' || trim_scale(round(reasons.billed_percent * 100, 4))::text || ' % given, '
                || trim_scale(round(reasons.entitled_percent * 100, 4))::text || ' % due in '
        else
            'Discounts of '
            || {{ money_text('discounted.given_discount', 'discounted.currency_exponent', 'discounted.currency') }}
            || ' given, '
            || {{ money_text('discounted.due_discount', 'discounted.currency_exponent', 'discounted.currency') }}
            || ' due in '
    end
    || {{ period_text('discounted.period_start', 'discounted.period_end') }} || ' ('
    || replace(coalesce(reasons.broken_rule, 'discount_not_given'), '_', ' ') || '): '
    || {{ money_text('abs(discounted.discount_gap)', 'discounted.currency_exponent', 'discounted.currency') }}
    || '.' as description,
    jsonb_strip_nulls(jsonb_build_object(
        'reason', case when discounted.discount_gap > 0 then reasons.broken_rule else 'discount_not_given' end,
        'coupon_id', reasons.coupon_id,
        'discount_id', reasons.discount_id,
        'contract_id', reasons.contract_id,
        'contract_reason', reasons.contract_reason,
        'threshold_meter', reasons.threshold_meter,
        'threshold_min', reasons.threshold_min,
        'threshold_quantity', reasons.threshold_quantity,
        'discount_given', {{ to_currency_units('discounted.given_discount', 'discounted.currency_exponent') }},
        'discount_due', {{ to_currency_units('discounted.due_discount', 'discounted.currency_exponent') }},
        'already_credited', {{ to_currency_units('discounted.already_credited', 'discounted.currency_exponent') }},
        'discount_percent_billed', round(reasons.billed_percent * 100, 6),
        'discount_percent_entitled', round(reasons.entitled_percent * 100, 6),
        'charges', discounted.evidence
    )) as evidence
from discounted
inner join reasons on discounted.scope_id = reasons.scope_id
