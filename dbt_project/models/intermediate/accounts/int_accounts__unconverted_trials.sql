-- Trials that are over and were never billed although an account still gives access or did: one row per subscription.
-- An invoice of any status that bills time after the trial, a draft or a void one too, means that billing went on.
with over as (
    select
        subscriptions.subscription_id,
        subscriptions.customer_id,
        subscriptions.status,
        least(subscriptions.trial_ended_at, subscriptions.ended_at) as trial_over_at,
        subscriptions.ended_at
    from {{ ref('stg_stripe__subscriptions') }} as subscriptions
    cross join {{ ref('stg_business__audit_settings') }} as settings
    where
        subscriptions.trial_ended_at is not null
        and subscriptions.status not in ('incomplete', 'incomplete_expired')
        and subscriptions.pause_behavior is null
        and least(subscriptions.trial_ended_at, subscriptions.ended_at)
        + make_interval(days => settings.invoice_grace_days) <= settings.as_of
),

billed as (
    select distinct over.subscription_id
    from over
    inner join {{ ref('stg_stripe__invoices') }} as invoices on over.customer_id = invoices.customer_id
    inner join {{ ref('stg_stripe__invoice_lines') }} as lines on invoices.invoice_id = lines.invoice_id
    cross join {{ ref('stg_business__audit_settings') }} as settings
    where
        coalesce(lines.subscription_id, invoices.subscription_id) = over.subscription_id
        and (lines.period_start >= over.trial_over_at or lines.period_end > over.trial_over_at)
        and lines.period_end > lines.period_start
        and invoices.created_at <= settings.as_of
),

licences as (
    select distinct on (items.subscription_id)
        items.subscription_id,
        items.currency,
        items.currency_exponent,
        items.price_id,
        items.quantity,
        plans.plan_key,
        plans.billing_interval,
        plans.interval_count,
        plans.interval_months,
        plans.unit_amount_decimal,
        plans.price_created_at
    from {{ ref('int_periods__items') }} as items
    inner join {{ ref('int_terms__price_plans') }} as plans on items.price_id = plans.price_id
    where items.usage_type = 'licensed'
    order by items.subscription_id, items.is_removed, plans.unit_amount_decimal desc nulls last, items.price_id
)

select
    over.subscription_id,
    over.customer_id,
    over.status,
    over.trial_over_at,
    licences.currency,
    licences.currency_exponent,
    licences.price_id,
    licences.quantity,
    licences.plan_key,
    licences.interval_months,
    licences.unit_amount_decimal,
    licences.price_created_at
from over
inner join licences on over.subscription_id = licences.subscription_id
left join billed on over.subscription_id = billed.subscription_id
where billed.subscription_id is null
