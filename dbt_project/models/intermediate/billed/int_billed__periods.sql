-- What an item was billed for a period by its regular (not proration) lines, all lines of the period together:
-- tiered usage comes as several lines whose quantities add up to the usage.
with lines as (
    select
        lines.*,
        periods.usage_type,
        -- Two tiers of one price may well give equal lines on one invoice; only another invoice repeats those.
        case
            when prices.billing_scheme = 'tiered'
                then dense_rank() over (same_line order by lines.invoice_created_at, lines.invoice_id)
            else row_number() over (same_line order by lines.invoice_created_at, lines.line_id)
        end as repetition
    from {{ ref('int_billed__lines') }} as lines
    inner join {{ ref('int_periods__item_periods') }} as periods on lines.item_period_id = periods.item_period_id
    left join {{ ref('stg_stripe__prices') }} as prices on lines.price_id = prices.price_id
    where not lines.is_proration
    window same_line as (
        partition by
            lines.item_period_id, lines.price_id, lines.quantity, lines.gross_amount, lines.line_start, lines.line_end
    )
)

select
    item_period_id,
    count(*) as line_count,
    max(price_id) as price_id,
    count(distinct price_id) as price_count,
    -- A licence line that is there twice is charged twice, and no second licence: nobody asked for more seats. Usage is
    -- compared with its meter, which tells the repetition.
    sum(quantity) filter (where usage_type = 'metered' or repetition = 1) as quantity,
    sum(gross_amount) as gross_amount,
    sum(discount_amount) as discount_amount,
    sum((gross_amount - discount_amount) * paid_share) as paid_amount,
    min(invoice_created_at) as first_invoiced_at,
    max(finalized_at) as finalized_at,
    array_agg(distinct invoice_id) as invoice_ids,
    array_agg(line_id order by line_id) as line_ids
from lines
group by item_period_id
