-- Credit notes by the invoice line they credit, net of discounts and exclusive tax. A credit without a line is booked
-- on the invoice's largest line, so that it stands in some period's bridge and only once; where that line lies outside
-- the audited periods, so does the credit. What was issued later, or voided by then, does not count.
with issued as (
    select notes.*
    from {{ ref('stg_stripe__credit_notes') }} as notes
    cross join {{ ref('stg_business__audit_settings') }} as settings
    where
        (notes.created_at is null or notes.created_at <= settings.as_of)
        and (notes.status != 'void' or notes.voided_at > settings.as_of)
),

largest_line as (
    select distinct on (lines.invoice_id)
        lines.invoice_id,
        lines.line_id
    from {{ ref('stg_stripe__invoice_lines') }} as lines
    inner join issued on lines.invoice_id = issued.invoice_id
    order by lines.invoice_id, lines.amount desc, lines.line_id
),

noted as (
    select
        issued.credit_note_id,
        issued.invoice_id,
        issued.created_at,
        issued.action_id,
        issued.corrected_type,
        note_lines.invoice_line_id,
        note_lines.amount - coalesce(note_lines.discount_amount, 0) as credit_amount
    from issued
    inner join {{ ref('stg_stripe__credit_note_lines') }} as note_lines
        on issued.credit_note_id = note_lines.credit_note_id
    union all
    select
        issued.credit_note_id,
        issued.invoice_id,
        issued.created_at,
        issued.action_id,
        issued.corrected_type,
        null as invoice_line_id,
        issued.total - issued.total_exclusive_tax as credit_amount
    from issued
    where
        not exists (
            select 1 from {{ ref('stg_stripe__credit_note_lines') }} as note_lines
            where note_lines.credit_note_id = issued.credit_note_id
        )
)

select
    noted.credit_note_id,
    lines.line_id,
    lines.item_period_id,
    noted.action_id,
    noted.corrected_type,
    min(noted.created_at) as issued_at,
    sum(noted.credit_amount)::numeric as credit_amount
from noted
left join largest_line on noted.invoice_id = largest_line.invoice_id
inner join {{ ref('int_billed__lines') }} as lines
    on coalesce(noted.invoice_line_id, largest_line.line_id) = lines.line_id
group by noted.credit_note_id, lines.line_id, lines.item_period_id, noted.action_id, noted.corrected_type
