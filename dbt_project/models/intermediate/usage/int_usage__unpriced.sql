-- Usage of known customers that no authority prices for them (billing model, section 4, rules 7.15 and 7.29): a meter
-- that neither contract, price book nor subscription charges for, and what exceeds an included quantity without rate.
-- Usage of a trial is free, and so is everything under a contract that gives 100 %.
with charged as (
    select distinct
        prices.customer_id,
        charges.stripe_event_name,
        prices.period_start,
        prices.period_end
    from {{ ref('int_terms__metered_charges') }} as charges
    inner join {{ ref('int_terms__item_period_prices') }} as prices on charges.item_period_id = prices.item_period_id
),

stray_windows as (
    select windows.*
    from {{ ref('int_usage__meter_windows') }} as windows
    where not exists (
        select 1 from charged
        where
            windows.customer_id = charged.customer_id
            and windows.stripe_event_name = charged.stripe_event_name
            and windows.window_start >= charged.period_start
            and windows.window_start < charged.period_end
    )
),

-- Each window in one subscription's period: its licence's, the shortest, the first.
placed as (
    select distinct on (windows.customer_id, windows.meter, windows.source, windows.window_start)
        windows.*,
        scopes.scope_id
    from stray_windows as windows
    inner join {{ ref('int_terms__scopes') }} as scopes
        on
            windows.customer_id = scopes.customer_id
            and windows.window_start >= scopes.period_start
            and windows.window_start < scopes.period_end
    inner join {{ ref('int_terms__item_period_prices') }} as base
        on scopes.base_item_period_id = base.item_period_id
    left join {{ ref('int_terms__scope_contracts') }} as contracts on scopes.scope_id = contracts.scope_id
    where
        (base.trial_ended_at is null or windows.window_start >= base.trial_ended_at)
        and coalesce(contracts.discount_percent, 0) < 100
    order by
        windows.customer_id, windows.meter, windows.source, windows.window_start, scopes.has_licence desc,
        scopes.period_end - scopes.period_start, scopes.subscription_id
),

folded as (
    select
        placed.scope_id,
        placed.stripe_event_name,
        min(placed.meter) as meter,
        case meters.formula
            when 'count' then sum(placed.event_count)::numeric
            when 'last' then (array_agg(placed.last_value order by placed.last_at desc, placed.source))[1]
            else sum(placed.quantity_sum)
        end as quantity,
        null::numeric as included_quantity,
        sum(placed.event_count) as event_count,
        to_jsonb(array_agg(distinct placed.source) filter (where placed.source != '')) as sources
    from placed
    left join {{ ref('stg_stripe__meters') }} as meters
        on placed.stripe_event_name = meters.event_name and meters.status = 'active'
    group by placed.scope_id, placed.stripe_event_name, meters.formula
    union all
    select
        terms.scope_id,
        terms.stripe_event_name,
        coalesce(quantities.meter, terms.term_meter) as meter,
        trim_scale(quantities.true_quantity - terms.included_quantity * (1 + terms.grace_percent / 100)) as quantity,
        terms.included_quantity,
        null as event_count,
        null as sources
    from {{ ref('int_terms__metered_terms') }} as terms
    inner join {{ ref('int_usage__metered_quantities') }} as quantities on terms.charge_id = quantities.charge_id
    where terms.authority = 'included_only' and quantities.is_covered_by_log
)

select
    folded.scope_id || '|' || folded.stripe_event_name as usage_id,
    scopes.customer_id,
    scopes.subscription_id,
    scopes.period_start,
    scopes.period_end,
    scopes.phase,
    scopes.currency,
    scopes.currency_exponent,
    plans.interval_months,
    folded.stripe_event_name,
    folded.meter,
    folded.quantity,
    folded.included_quantity,
    folded.event_count,
    folded.sources
from folded
inner join {{ ref('int_terms__scopes') }} as scopes on folded.scope_id = scopes.scope_id
inner join {{ ref('int_terms__price_plans') }} as plans on scopes.base_price_id = plans.price_id
where folded.quantity > 0
