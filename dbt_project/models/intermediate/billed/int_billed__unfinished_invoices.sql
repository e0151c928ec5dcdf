-- Periods that stand on a draft or a void invoice: the first is not missing yet, the second was taken back.
select
    periods.item_period_id,
    bool_or(invoices.status = 'draft' or invoices.finalized_at > periods.as_of) as has_draft,
    bool_or(invoices.status = 'void') as has_void,
    bool_or(invoices.status = 'void' and pauses.subscription_id is not null) as has_void_in_pause,
    max(invoices.invoice_id) filter (
        where invoices.status = 'draft' or invoices.finalized_at > periods.as_of
    ) as draft_invoice_id
from {{ ref('stg_stripe__invoice_lines') }} as lines
inner join {{ ref('stg_stripe__invoices') }} as invoices on lines.invoice_id = invoices.invoice_id
inner join {{ ref('int_periods__item_periods') }} as periods
    on
        lines.subscription_item_id = periods.subscription_item_id
        and lines.period_start >= periods.period_start
        and lines.period_start < periods.period_end
left join {{ ref('int_history__subscription_pauses') }} as pauses
    on
        periods.subscription_id = pauses.subscription_id
        and pauses.behavior = 'void'
        and invoices.created_at >= pauses.paused_from
        and invoices.created_at < coalesce(pauses.resumed_at, 'infinity')
where invoices.status in ('draft', 'void') or invoices.finalized_at > periods.as_of
group by periods.item_period_id
