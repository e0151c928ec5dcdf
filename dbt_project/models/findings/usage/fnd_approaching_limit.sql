-- Usage of the running period has reached a soft cap of the included quantity (policy.soft_cap_pct). The amount is what
-- the usage above it would come to if the period goes on as it began; empty when the limit is not reached by then.
-- Who was above the limit in three closed periods running is not approaching it: that is outgrown_plan.
with reached as (
    select
        limits.*,
        (
            select max(caps.value::numeric)
            from jsonb_array_elements_text(settings.soft_cap_pct) as caps (value)
            where limits.used_percent >= caps.value::numeric
        ) as cap_percent
    from {{ ref('int_usage__limits') }} as limits
    cross join {{ ref('stg_business__audit_settings') }} as settings
    left join {{ ref('int_usage__limits_outgrown') }} as outgrown
        on
            limits.subscription_id = outgrown.subscription_id
            and limits.stripe_event_name = outgrown.stripe_event_name
    where limits.phase = 'open' and outgrown.subscription_id is null
)

select
    reached.customer_id,
    reached.subscription_id,
    'approaching_limit' as leakage_type,
    'opportunity' as direction,
    reached.meter,
    reached.period_start,
    reached.period_end,
    reached.phase,
    reached.currency,
    {{ to_currency_units('nullif(estimates.amount, 0)', 'reached.currency_exponent') }} as leakage_amount,
    null::numeric as months,
    reached.plan_key as cause,
    'soft_cap_' || trim_scale(reached.cap_percent)::text as reason,
    array['period_open'] as doubts,
    {{ quantity_text('reached.true_quantity') }} || ' of ' || {{ quantity_text('reached.included_quantity') }} || ' '
    || reached.meter || ' included are used (' || floor(reached.used_percent)::text || ' %)'
    || case
        when reached.used_percent >= 100 then ', the limit is crossed.'
        when reached.crosses_at < reached.period_end
            then
                '; at this pace the limit is crossed on '
                || to_char(reached.crosses_at at time zone 'utc', 'YYYY-MM-DD') || '.'
        else '; at this pace the period ends below the limit.'
    end as description,
    jsonb_strip_nulls(jsonb_build_object(
        'meter', reached.meter,
        'used_quantity', reached.true_quantity,
        'included_quantity', reached.included_quantity,
        'used_percent', round(reached.used_percent, 2),
        'soft_cap_percent', reached.cap_percent,
        'is_crossed', reached.used_percent >= 100,
        'projected_quantity', reached.projected_quantity,
        'crosses_at', case when reached.crosses_at < reached.period_end then reached.crosses_at end,
        'authority', reached.authority,
        'rate_id', estimates.rate_id,
        'rate_tiers_in_minor_units', estimates.tiers
    )) as evidence
from reached
left join {{ ref('int_usage__estimates') }} as estimates on reached.usage_id = estimates.usage_id
where reached.cap_percent is not null
