-- The bridge per subscription and period in minor units: the sum of its charges, the minimum's shortfall and the
-- credits on its lines.
with charges as (
    select
        scope_id,
        bool_or(cannot_rate) as cannot_rate,
        sum(expected_net) as expected_net,
        sum(billed_net) as billed_net,
        sum(usage_gap_step) as usage_gap,
        sum(price_gap_step) as price_gap,
        sum(quantity_gap_step) as quantity_gap,
        sum(discount_gap_step) as discount_gap,
        sum(rating_gap_step) as rating_gap,
        sum(missing_invoice_step) as missing_invoice,
        sum(rounding_step) as rounding
    from {{ ref('int_bridge__charges') }}
    group by scope_id
),

credits as (
    select
        scopes.scope_id,
        sum(credits.credit_amount) as credited
    from {{ ref('int_billed__credits') }} as credits
    inner join {{ ref('int_periods__item_periods') }} as periods on credits.item_period_id = periods.item_period_id
    inner join {{ ref('int_terms__scopes') }} as scopes
        on
            periods.subscription_id = scopes.subscription_id
            and periods.period_start = scopes.period_start
            and periods.period_end = scopes.period_end
    group by scopes.scope_id
)

select
    scopes.scope_id,
    scopes.customer_id,
    scopes.subscription_id,
    scopes.period_start,
    scopes.period_end,
    scopes.phase,
    scopes.currency,
    scopes.currency_exponent,
    scopes.plan_key,
    charges.cannot_rate,
    charges.expected_net + coalesce(minimums.shortfall, 0) as expected_net,
    charges.billed_net - coalesce(credits.credited, 0) as billed_net,
    charges.usage_gap,
    charges.price_gap,
    charges.quantity_gap,
    charges.discount_gap,
    coalesce(minimums.shortfall, 0) as minimum_gap,
    charges.rating_gap,
    charges.missing_invoice,
    charges.rounding,
    coalesce(credits.credited, 0) as credited
from {{ ref('int_terms__scopes') }} as scopes
inner join charges on scopes.scope_id = charges.scope_id
left join {{ ref('int_bridge__minimums') }} as minimums on scopes.scope_id = minimums.scope_id
left join credits on scopes.scope_id = credits.scope_id
