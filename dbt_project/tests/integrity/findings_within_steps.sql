{{ config(severity='error', meta={'dagster': {'ref': {'name': 'fct_leakage_detections'}}}) }}
-- One amount has one primary finding: per subscription, period and direction, the published measured findings come to
-- no more than the steps of the bridge that point the same way.
with steps as (
    select
        subscription_id,
        period_start,
        period_end,
        currency_exponent,
        sum(
            greatest(usage_gap_step, 0) + greatest(price_gap_step, 0) + greatest(quantity_gap_step, 0)
            + greatest(discount_gap_step, 0) + greatest(rating_gap_step, 0)
            + greatest(missing_invoice_step, 0) + greatest(unbilled_change_step, 0)
        ) as unbilled,
        sum(
            greatest(-usage_gap_step, 0) + greatest(-price_gap_step, 0) + greatest(-quantity_gap_step, 0)
            + greatest(-discount_gap_step, 0) + greatest(-rating_gap_step, 0)
            + greatest(-missing_invoice_step, 0) + greatest(-unbilled_change_step, 0)
        ) as overbilled
    from {{ ref('int_bridge__components') }}
    group by subscription_id, period_start, period_end, currency_exponent
),

covered as (
    select
        steps.subscription_id,
        steps.period_start,
        steps.period_end,
        {{ to_currency_units(
            'steps.unbilled + coalesce(minimums.shortfall, 0) + greatest(coalesce(bridge.credited, 0), 0)',
            'steps.currency_exponent'
        ) }} as unbilled,
        {{ to_currency_units('steps.overbilled', 'steps.currency_exponent') }} as overbilled
    from steps
    inner join {{ ref('int_terms__scopes') }} as scopes
        on
            steps.subscription_id = scopes.subscription_id
            and steps.period_start = scopes.period_start
            and steps.period_end = scopes.period_end
    left join {{ ref('int_bridge__minimums') }} as minimums on scopes.scope_id = minimums.scope_id
    left join {{ ref('int_bridge__subscription_periods') }} as bridge on scopes.scope_id = bridge.scope_id
),

found as (
    select
        subscription_id,
        period_start,
        period_end,
        coalesce(sum(leakage_amount) filter (where direction = 'leak'), 0) as leaks,
        coalesce(sum(leakage_amount) filter (where direction = 'overbilling'), 0) as overbillings
    from {{ ref('fct_leakage_detections') }}
    -- A draft is not billed yet: its steps are not the bridge's.
    where amount_basis = 'measured' and phase != 'preflight' and {{ priced_tonight('customer_id') }}
    group by subscription_id, period_start, period_end
)

select
    found.*,
    covered.unbilled,
    covered.overbilled
from found
left join covered
    on
        found.subscription_id = covered.subscription_id
        and found.period_start = covered.period_start
        and found.period_end = covered.period_end
where
    found.leaks > coalesce(covered.unbilled, 0)
    or found.overbillings > coalesce(covered.overbilled, 0)
