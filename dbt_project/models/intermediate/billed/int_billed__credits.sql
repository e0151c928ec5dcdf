-- Credit notes by the invoice line they credit, net of tax and discounts. A credit without a line is booked on the
-- invoice's largest line, so that it stands in some period's bridge and only once.
with largest_line as (
    select distinct on (invoice_id)
        invoice_id,
        line_id
    from {{ ref('int_billed__lines') }}
    order by invoice_id, gross_amount desc, line_id
),

noted as (
    select
        notes.credit_note_id,
        notes.invoice_id,
        note_lines.invoice_line_id,
        note_lines.amount - coalesce(note_lines.discount_amount, 0) as credit_amount
    from {{ ref('stg_stripe__credit_notes') }} as notes
    inner join {{ ref('stg_stripe__credit_note_lines') }} as note_lines
        on notes.credit_note_id = note_lines.credit_note_id
    where notes.status != 'void'
    union all
    select
        notes.credit_note_id,
        notes.invoice_id,
        null as invoice_line_id,
        notes.subtotal as credit_amount
    from {{ ref('stg_stripe__credit_notes') }} as notes
    where
        notes.status != 'void'
        and not exists (
            select 1 from {{ ref('stg_stripe__credit_note_lines') }} as note_lines
            where note_lines.credit_note_id = notes.credit_note_id
        )
)

select
    noted.credit_note_id,
    lines.line_id,
    lines.item_period_id,
    sum(noted.credit_amount)::numeric as credit_amount
from noted
left join largest_line on noted.invoice_id = largest_line.invoice_id
inner join {{ ref('int_billed__lines') }} as lines
    on coalesce(noted.invoice_line_id, largest_line.line_id) = lines.line_id
group by noted.credit_note_id, lines.line_id, lines.item_period_id
