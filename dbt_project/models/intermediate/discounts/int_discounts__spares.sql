-- What fixed amounts off could not use up, because an invoice's lines came to less, by each line's share of it: were
-- the line higher, it would come off that too.
with fixed as (
    select
        discount_id,
        max(amount_off) as amount_off
    from {{ ref('int_discounts__applied') }}
    where is_fixed_amount and is_on_line
    group by discount_id
),

invoiced as (
    select
        lines.line_id,
        line_discounts.discount_id,
        fixed.amount_off,
        lines.amount::numeric as line_gross,
        sum(lines.amount) over invoice as invoice_gross,
        sum(line_discounts.amount) over invoice as taken_amount
    from {{ ref('stg_stripe__invoice_line_discounts') }} as line_discounts
    inner join {{ ref('stg_stripe__invoice_lines') }} as lines on line_discounts.line_id = lines.line_id
    inner join fixed on line_discounts.discount_id = fixed.discount_id
    where lines.amount > 0
    window invoice as (partition by lines.invoice_id, line_discounts.discount_id)
)

select
    invoiced.line_id,
    invoiced.discount_id,
    lines.item_period_id,
    floor((invoiced.amount_off - invoiced.taken_amount) * invoiced.line_gross / invoiced.invoice_gross) as spare_amount
from invoiced
inner join {{ ref('int_billed__lines') }} as lines on invoiced.line_id = lines.line_id
where invoiced.amount_off > invoiced.taken_amount and not lines.is_proration
