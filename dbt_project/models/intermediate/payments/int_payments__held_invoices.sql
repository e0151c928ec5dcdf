-- Invoices that exist and collect nothing: drafts that should be final by now, and invoices that a pause wrote off at
-- the second they were made. Amounts are without exclusive tax, like everything that is compared with what is billed.
with spans as (
    select
        lines.invoice_id,
        max(lines.period_start) filter (where not lines.is_proration) as period_start,
        max(lines.period_end) filter (where not lines.is_proration) as period_end,
        max(plans.interval_months) filter (where plans.usage_type = 'licensed') as interval_months
    from {{ ref('stg_stripe__invoice_lines') }} as lines
    left join {{ ref('int_terms__price_plans') }} as plans on lines.price_id = plans.price_id
    group by lines.invoice_id
),

invoices as (
    select
        invoices.*,
        invoices.total - coalesce(invoices.total_exclusive_tax, 0) as amount,
        subscriptions.status as subscription_status,
        subscriptions.pause_behavior,
        settings.as_of,
        settings.invoice_grace_days,
        settings.finalization_delay_hours,
        coalesce(invoices.automatically_finalizes_at, invoices.created_at) as should_finalize_at
    from {{ ref('stg_stripe__invoices') }} as invoices
    cross join {{ ref('stg_business__audit_settings') }} as settings
    inner join {{ ref('int_periods__customers_in_scope') }} as scope on invoices.customer_id = scope.customer_id
    left join {{ ref('stg_stripe__subscriptions') }} as subscriptions
        on invoices.subscription_id = subscriptions.subscription_id
    where invoices.status in ('draft', 'uncollectible') and invoices.created_at < settings.as_of
),

held as (
    select
        *,
        case
            when status = 'draft' and pause_behavior = 'keep_as_draft' then 'paused_as_draft'
            -- Nobody tried to collect: the pause wrote it off, no failed payment did.
            when
                status = 'uncollectible' and pause_behavior = 'mark_uncollectible'
                and coalesce(attempt_count, 0) = 0 and amount_paid = 0
                then 'paused_as_uncollectible'
            when status != 'draft' then null
            when subscription_status = 'unpaid' then 'subscription_unpaid'
            when not coalesce(auto_advance, false) then 'auto_advance_off'
            else 'finalization_overdue'
        end as hold_reason
    from invoices
)

select
    held.invoice_id,
    held.customer_id,
    held.subscription_id,
    held.hold_reason,
    held.billing_reason,
    held.currency,
    coalesce(currencies.exponent, 2) as currency_exponent,
    held.amount,
    held.created_at,
    held.should_finalize_at,
    coalesce(spans.period_start, held.created_at) as period_start,
    greatest(
        coalesce(spans.period_end, held.as_of), coalesce(spans.period_start, held.created_at) + interval '1 second'
    ) as period_end,
    spans.interval_months,
    access.account_ids,
    access.account_ids is not null or exists (
        select 1 from {{ ref('stg_usage__windows') }} as windows
        where
            windows.customer_id = held.customer_id
            and windows.window_end > held.created_at
            and windows.event_count > 0
    ) as is_in_use
from held
left join spans on held.invoice_id = spans.invoice_id
left join {{ ref('int_payments__access') }} as access on held.subscription_id = access.subscription_id
left join {{ ref('currencies') }} as currencies on held.currency = currencies.currency
where
    held.hold_reason is not null
    and held.amount > 0
    and held.should_finalize_at + case
        when held.hold_reason in ('paused_as_draft', 'paused_as_uncollectible')
            then make_interval(hours => held.finalization_delay_hours)
        else make_interval(days => held.invoice_grace_days)
    end <= held.as_of
