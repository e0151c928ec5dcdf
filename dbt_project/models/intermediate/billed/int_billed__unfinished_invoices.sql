-- Periods that stand on a draft or a void invoice, or wait for their invoice as a pending item (usage of a metered item
-- that was removed or got another price): the first and the last are not missing yet, the second was taken back.
with stated as (
    select
        lines.subscription_item_id,
        lines.period_start,
        invoices.invoice_id,
        invoices.status,
        invoices.created_at,
        invoices.finalized_at
    from {{ ref('stg_stripe__invoice_lines') }} as lines
    inner join {{ ref('stg_stripe__invoices') }} as invoices on lines.invoice_id = invoices.invoice_id
    union all
    select
        subscription_item_id,
        period_start,
        null as invoice_id,
        'pending' as status,
        created_at,
        null as finalized_at
    from {{ ref('stg_stripe__invoice_items') }}
    where invoice_id is null and subscription_item_id is not null and not is_proration
)

select
    periods.item_period_id,
    bool_or(stated.status in ('draft', 'pending') or coalesce(stated.finalized_at > periods.as_of, false)) as has_draft,
    bool_or(stated.status = 'void') as has_void,
    bool_or(stated.status = 'void' and pauses.subscription_id is not null) as has_void_in_pause,
    max(stated.invoice_id) filter (
        where stated.status = 'draft' or stated.finalized_at > periods.as_of
    ) as draft_invoice_id
from stated
inner join {{ ref('int_periods__item_periods') }} as periods
    on
        stated.subscription_item_id = periods.subscription_item_id
        and stated.period_start >= periods.period_start
        and stated.period_start < periods.period_end
left join {{ ref('int_history__subscription_pauses') }} as pauses
    on
        periods.subscription_id = pauses.subscription_id
        and pauses.behavior = 'void'
        and stated.created_at >= pauses.paused_from
        and stated.created_at < coalesce(pauses.resumed_at, 'infinity')
where stated.status in ('draft', 'void', 'pending') or stated.finalized_at > periods.as_of
group by periods.item_period_id
