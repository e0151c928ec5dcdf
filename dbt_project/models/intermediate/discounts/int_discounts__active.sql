-- Discounts that Stripe would take off what no invoice states a discount of: those active when its invoice is made, for
-- its product. A subscription with discounts of its own does not get its customer's. A discount that is given once goes
-- to the invoice that had it, or to the first such invoice when none had it; a void invoice gave nothing.
with given as (
    select
        line_discounts.discount_id,
        lines.invoice_id,
        invoices.subscription_id,
        invoices.status != 'void' as has_counted,
        min(line_discounts.discount_position) as discount_position,
        min(invoices.created_at) as given_at
    from {{ ref('stg_stripe__invoice_line_discounts') }} as line_discounts
    inner join {{ ref('stg_stripe__invoice_lines') }} as lines on line_discounts.line_id = lines.line_id
    inner join {{ ref('stg_stripe__invoices') }} as invoices on lines.invoice_id = invoices.invoice_id
    where line_discounts.amount != 0 and not lines.is_proration
    group by line_discounts.discount_id, lines.invoice_id, invoices.subscription_id, invoices.status
),

seen as (
    select
        discount_id,
        bool_or(has_counted) as was_given,
        min(discount_position) as discount_position
    from given
    group by discount_id
),

candidates as (
    select
        unstated.*,
        discounts.discount_id,
        discounts.coupon_id,
        discounts.start_at,
        coupons.duration,
        coalesce(seen.was_given, false) as was_given,
        coalesce(seen.discount_position, 1000) as discount_position,
        case
            when discounts.subscription_item_id is not null then 0
            when discounts.subscription_id is not null then 1
            else 2
        end as breadth
    from {{ ref('int_discounts__unstated') }} as unstated
    inner join {{ ref('stg_stripe__discounts') }} as discounts
        on
            unstated.customer_id = discounts.customer_id
            and discounts.invoice_id is null
            and discounts.invoice_item_id is null
            and coalesce(discounts.subscription_item_id, unstated.subscription_item_id) = unstated.subscription_item_id
            and coalesce(discounts.subscription_id, unstated.subscription_id) = unstated.subscription_id
    left join {{ ref('stg_stripe__coupons') }} as coupons on discounts.coupon_id = coupons.coupon_id
    left join seen on discounts.discount_id = seen.discount_id
    where
        (coupons.product_ids is null or coupons.product_ids ? unstated.product_id)
        and discounts.start_at <= unstated.invoiced_at
        and (discounts.end_at is null or unstated.invoiced_at < discounts.end_at)
),

given_then as (
    select distinct
        candidates.item_period_id,
        candidates.discount_id
    from candidates
    inner join given
        on
            candidates.discount_id = given.discount_id
            and candidates.subscription_id = given.subscription_id
            and candidates.invoiced_at <= given.given_at
            and given.given_at < candidates.invoiced_at + interval '1 hour'
    where given.has_counted
),

active as (
    select
        candidates.*,
        min(candidates.breadth) over (partition by candidates.item_period_id) as own_breadth,
        min(case when not candidates.has_line then candidates.invoiced_at end)
            over (partition by candidates.discount_id) as first_invoiced_at,
        given_then.discount_id is not null as is_given_then
    from candidates
    left join given_then
        on candidates.item_period_id = given_then.item_period_id and candidates.discount_id = given_then.discount_id
)

select
    item_period_id,
    owner_item_period_id,
    subscription_id,
    currency,
    discount_id,
    coupon_id,
    invoiced_at,
    row_number() over (
        partition by item_period_id order by breadth, discount_position, start_at, discount_id
    ) as discount_position
from active
where
    (breadth < 2 or own_breadth = 2)
    and (
        duration is distinct from 'once'
        or is_given_then
        or (not was_given and not has_line and invoiced_at = first_invoiced_at)
    )
