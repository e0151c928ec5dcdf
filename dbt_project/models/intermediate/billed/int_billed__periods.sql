-- What an item was billed for a period by its regular (not proration) lines, all lines of the period together:
-- tiered usage comes as several lines whose quantities add up to the usage.
select
    item_period_id,
    count(*) as line_count,
    max(price_id) as price_id,
    count(distinct price_id) as price_count,
    sum(quantity) as quantity,
    sum(gross_amount) as gross_amount,
    sum(discount_amount) as discount_amount,
    sum((gross_amount - discount_amount) * paid_share) as paid_amount,
    min(invoice_created_at) as first_invoiced_at,
    max(finalized_at) as finalized_at,
    array_agg(distinct invoice_id) as invoice_ids,
    array_agg(line_id order by line_id) as line_ids
from {{ ref('int_billed__lines') }}
where not is_proration
group by item_period_id
