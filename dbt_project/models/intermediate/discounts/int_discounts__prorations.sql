-- The discount inside each proration line that shows none. Which one that is depends on the billing mode and on what
-- was active at that instant, and Stripe does not say; but the line's own amount does: of the discounts that can be
-- meant (the period's own as billed, with its fixed amounts or without; those active at the change; none) it is the
-- one that gives the amount. How a fixed amount is shared out is said nowhere: it may be anything up to all of it. A
-- price of a shape that is not known has the period's own.
with due_amounts as (
    select
        item_period_id,
        sum(entitled_discount) as entitled_discount
    from {{ ref('int_discounts__line_amounts') }}
    group by item_period_id
),

active as (
    select
        lines.line_id,
        case
            when max(coupons.percent_off) >= 100 then 1
            else round(1 - exp(
                sum(ln(1 - least(coupons.percent_off, 99.9999999) / 100)) filter (where coupons.percent_off > 0)
            ), 12)
        end as percent_share,
        sum(coalesce(
            case when coupons.currency = lines.currency then coupons.amount_off end,
            (coupons.currency_options -> lines.currency ->> 'amount_off')::numeric
        )) as amount_off
    from {{ ref('int_discounts__proration_fees') }} as lines
    inner join {{ ref('stg_stripe__discounts') }} as discounts
        on
            lines.customer_id = discounts.customer_id
            and discounts.invoice_id is null
            and discounts.invoice_item_id is null
            and coalesce(discounts.subscription_item_id, lines.subscription_item_id) = lines.subscription_item_id
            and coalesce(discounts.subscription_id, lines.subscription_id) = lines.subscription_id
            and lines.line_start >= discounts.start_at
            and (discounts.end_at is null or lines.line_start < discounts.end_at)
    inner join {{ ref('stg_stripe__coupons') }} as coupons
        on discounts.coupon_id = coupons.coupon_id and (coupons.percent_off > 0 or coupons.amount_off > 0)
    group by lines.line_id
),

-- Fixed amounts on the period's own lines, of coupons that may be over by now.
billed_amounts as (
    select
        item_period_id,
        sum(amount_off) as amount_off
    from {{ ref('int_discounts__shares') }}
    where is_fixed_amount and is_on_line
    group by item_period_id
),

candidates as (
    select
        lines.*,
        choice.percent_share,
        choice.preference,
        case
            when choice.preference <= 2 and due.item_period_id is not null
                then due.entitled_discount / nullif(billed.gross_amount, 0)
            else choice.percent_share
        end as entitled_share
    from {{ ref('int_discounts__proration_fees') }} as lines
    left join {{ ref('int_discounts__entitlements') }} as entitlements
        on lines.item_period_id = entitlements.item_period_id
    left join {{ ref('int_billed__periods') }} as billed on lines.item_period_id = billed.item_period_id
    left join due_amounts as due on lines.item_period_id = due.item_period_id
    left join active on lines.line_id = active.line_id
    left join billed_amounts on lines.item_period_id = billed_amounts.item_period_id
    cross join
        lateral (
            values
            (coalesce(entitlements.billed_percent, 0), 1),
            (billed.discount_amount / nullif(billed.gross_amount, 0), 2),
            (active.percent_share, 3),
            (0, 4),
            (
                case
                    when
                        abs(lines.full_amount) - abs(lines.gross_amount)
                        between 0 and greatest(active.amount_off, billed_amounts.amount_off)
                        then 1 - lines.gross_amount / nullif(lines.full_amount, 0)
                end, 5
            )
        ) as choice (percent_share, preference)
    where choice.percent_share is not null
),

fitted as (
    select
        *,
        abs({{ floor_money('round(full_amount * (1 - percent_share), 9)', 'rounding_unit') }} - gross_amount)
        <= rounding_unit * line_count as fits
    from candidates
)

select distinct on (line_id)
    line_id,
    item_period_id,
    trim_scale(percent_share) as given_share,
    trim_scale(entitled_share) as entitled_share
from fitted
order by line_id, coalesce(fits, false) desc, preference
