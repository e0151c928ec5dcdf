-- Proration lines as charges. Each stands by itself, but a credit of a tiered fee may come as one line for each line of
-- the fee (flexible billing mode): together they say the quantity, and are rated as one.
with lines as (
    select
        lines.*,
        coalesce(prices.billing_scheme = 'tiered', false) as is_tiered,
        case when lines.is_credit then -1 else 1 end as direction_sign
    from {{ ref('int_billed__lines') }} as lines
    left join {{ ref('stg_stripe__prices') }} as prices on lines.price_id = prices.price_id
    where lines.is_proration
)

select
    min(line_id) as line_id,
    item_period_id,
    subscription_item_id,
    price_id,
    direction_sign,
    line_start,
    line_end,
    is_tiered,
    coalesce(sum(quantity), 1) as quantity,
    sum(gross_amount) as gross_amount,
    sum(discount_amount) as discount_amount,
    count(*) as line_count,
    array_agg(line_id order by line_id) as line_ids,
    array_agg(distinct invoice_id) as invoice_ids
from lines
group by
    item_period_id, subscription_item_id, price_id, direction_sign, line_start, line_end, is_tiered,
    case when is_tiered then invoice_id else line_id end
