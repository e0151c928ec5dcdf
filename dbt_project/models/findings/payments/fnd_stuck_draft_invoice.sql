-- Drafts that should be final by now, and invoice items that no invoice takes up: money that was worked out and that
-- nobody has been asked for (billing model 7.30). What a pause holds back is paused_collection instead.
with stuck as (
    select
        customer_id,
        subscription_id,
        currency,
        currency_exponent,
        hold_reason as reason,
        billing_reason = 'manual' as is_manual,
        invoice_id as object_id,
        'invoice' as object_type,
        amount,
        should_finalize_at as stuck_since,
        period_start,
        period_end
    from {{ ref('int_payments__held_invoices') }}
    where hold_reason not in ('paused_as_draft', 'paused_as_uncollectible')
    union all
    select
        items.customer_id,
        items.subscription_id,
        items.currency,
        items.currency_exponent,
        items.left_over_reason as reason,
        not items.is_proration as is_manual,
        items.invoice_item_id as object_id,
        'invoice item' as object_type,
        items.amount,
        items.created_at as stuck_since,
        -- One finding for all that is left over of a subscription, whenever each item was made.
        min(items.created_at) over (
            partition by items.customer_id, items.subscription_id, items.currency
        ) as period_start,
        settings.as_of as period_end
    from {{ ref('int_payments__left_over_items') }} as items
    cross join {{ ref('stg_business__audit_settings') }} as settings
)

select
    customer_id,
    subscription_id,
    'stuck_draft_invoice' as leakage_type,
    'risk' as direction,
    null::text as meter,
    period_start,
    max(period_end) as period_end,
    'open' as phase,
    currency,
    {{ to_currency_units('sum(amount)', 'currency_exponent') }} as leakage_amount,
    null::numeric as months,
    min(reason) as cause,
    min(reason) as reason,
    case when bool_or(is_manual) then array['manual_invoice'] else array[]::text[] end as doubts,
    {{ money_text('sum(amount)', 'currency_exponent', 'currency') }} || ' on '
    || string_agg(object_type || ' ' || object_id, ', ' order by object_id) || ' has not been invoiced since '
    || to_char(min(stuck_since) at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS') || ' UTC ('
    || replace(min(reason), '_', ' ') || ').' as description,
    jsonb_build_object('waiting', jsonb_agg(jsonb_build_object(
        'object', object_type,
        'id', object_id,
        'amount', {{ to_currency_units('amount', 'currency_exponent') }},
        'since', stuck_since,
        'reason', reason
    ) order by object_id)) as evidence
from stuck
group by customer_id, subscription_id, currency, currency_exponent, period_start
having sum(amount) > 0
