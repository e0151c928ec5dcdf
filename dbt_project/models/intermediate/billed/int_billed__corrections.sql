-- Lines of our own corrections on finalised invoices: invoice items that carry our marks in their metadata. They name
-- no subscription item and are outside the comparison by themselves; what they correct stands in the marks. Net of
-- discounts and of credit notes on the line.
with marked as (
    select
        lines.line_id,
        lines.invoice_id,
        lines.invoice_item_id,
        lines.amount - coalesce(lines.discount_amount, 0) as line_net,
        coalesce(lines.metadata, '{}'::jsonb) || coalesce(items.metadata, '{}'::jsonb) as marks
    from {{ ref('stg_stripe__invoice_lines') }} as lines
    left join {{ ref('stg_stripe__invoice_items') }} as items on lines.invoice_item_id = items.invoice_item_id
    where lines.invoice_item_id is not null
),

credited as (
    select
        note_lines.invoice_line_id,
        sum(note_lines.amount - coalesce(note_lines.discount_amount, 0)) as credit_amount
    from {{ ref('stg_stripe__credit_note_lines') }} as note_lines
    inner join {{ ref('stg_stripe__credit_notes') }} as notes on note_lines.credit_note_id = notes.credit_note_id
    cross join {{ ref('stg_business__audit_settings') }} as settings
    where
        (notes.created_at is null or notes.created_at <= settings.as_of)
        and (notes.status != 'void' or notes.voided_at > settings.as_of)
    group by note_lines.invoice_line_id
)

select
    marked.line_id,
    marked.invoice_id,
    marked.invoice_item_id,
    marked.marks ->> 'leakage_action' as action_id,
    marked.marks ->> 'leakage_type' as leakage_type,
    marked.marks ->> 'leakage_charge' as charge_id,
    marked.line_net - coalesce(credited.credit_amount, 0) as net_amount,
    invoices.finalized_at as billed_at,
    invoices.paid_at,
    case
        when invoices.status = 'paid' then 1
        when invoices.total > 0 then least(1, invoices.amount_paid::numeric / invoices.total)
        else 0
    end as paid_share
from marked
inner join {{ ref('stg_stripe__invoices') }} as invoices on marked.invoice_id = invoices.invoice_id
cross join {{ ref('stg_business__audit_settings') }} as settings
left join credited on marked.line_id = credited.invoice_line_id
where
    marked.marks ? 'leakage_action'
    and invoices.status in ('open', 'paid', 'uncollectible')
    -- Auditing a past instant: what was finalised later was a draft then.
    and (invoices.finalized_at is null or invoices.finalized_at <= settings.as_of)
