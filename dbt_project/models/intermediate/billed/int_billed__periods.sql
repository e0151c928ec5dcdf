-- What an item was billed for a period by its regular (not proration) lines, all lines of the period together:
-- tiered usage comes as several lines whose quantities add up to the usage.
with lines as (
    select
        lines.*,
        periods.usage_type,
        repeated.line_id is not null as is_repeated
    from {{ ref('int_billed__lines') }} as lines
    inner join {{ ref('int_periods__item_periods') }} as periods on lines.item_period_id = periods.item_period_id
    left join {{ ref('int_billed__repeated_lines') }} as repeated on lines.line_id = repeated.line_id
    where not lines.is_proration
)

select
    item_period_id,
    count(*) as line_count,
    max(price_id) as price_id,
    count(distinct price_id) as price_count,
    -- A licence line that is there twice is charged twice, and no second licence: nobody asked for more seats. Usage is
    -- compared with its meter, which tells the repetition.
    sum(quantity) filter (where usage_type = 'metered' or not is_repeated) as quantity,
    sum(gross_amount) as gross_amount,
    sum(discount_amount) as discount_amount,
    sum((gross_amount - discount_amount) * paid_share) as paid_amount,
    min(invoice_created_at) as first_invoiced_at,
    max(finalized_at) as finalized_at,
    array_agg(distinct invoice_id) as invoice_ids,
    array_agg(line_id order by line_id) as line_ids
from lines
group by item_period_id
