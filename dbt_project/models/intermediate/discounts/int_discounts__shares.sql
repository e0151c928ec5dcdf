-- Every judged discount with its share of what the discounts before it leave: a percent as the coupon says, nothing
-- for a fixed amount. A coupon that Stripe no longer shows is read off the lines: what it took of what was left.
with measured as (
    select
        judged.*,
        billed.gross_amount,
        coalesce(sum(judged.discount_amount) over (
            partition by judged.item_period_id
            order by judged.discount_position, judged.discount_id
            rows between unbounded preceding and 1 preceding
        ), 0) as taken_before
    from {{ ref('int_discounts__judged') }} as judged
    left join {{ ref('int_billed__periods') }} as billed on judged.item_period_id = billed.item_period_id
)

select
    item_period_id,
    discount_id,
    coupon_id,
    discount_amount,
    discount_position,
    is_on_line,
    is_fixed_amount,
    amount_off,
    broken_rule,
    discounted_invoice_number,
    case
        when is_fixed_amount then 0
        when percent_off is not null then percent_off / 100
        else coalesce(least(1, greatest(0, discount_amount / nullif(gross_amount - taken_before, 0))), 0)
    end as percent_share
from measured
