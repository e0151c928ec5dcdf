-- Discounts on each item's period: those that Stripe took off its lines, in their order; for a fee or usage without
-- any line, those that were active when it should have been billed.
with on_lines as (
    select
        lines.item_period_id,
        lines.subscription_id,
        periods.currency,
        line_discounts.discount_id,
        sum(line_discounts.amount)::numeric as discount_amount,
        min(line_discounts.discount_position) as discount_position,
        min(lines.invoice_created_at) as invoiced_at
    from {{ ref('int_billed__lines') }} as lines
    inner join {{ ref('int_periods__item_periods') }} as periods on lines.item_period_id = periods.item_period_id
    inner join
        {{ ref('stg_stripe__invoice_line_discounts') }} as line_discounts
        on lines.line_id = line_discounts.line_id
    where line_discounts.amount != 0 and not lines.is_proration
    group by lines.item_period_id, lines.subscription_id, periods.currency, line_discounts.discount_id
),

applied as (
    select
        item_period_id,
        subscription_id,
        currency,
        discount_id,
        discount_amount,
        discount_position,
        invoiced_at,
        true as is_on_line,
        item_period_id as owner_item_period_id
    from on_lines
    union all
    select
        item_period_id,
        subscription_id,
        currency,
        discount_id,
        null as discount_amount,
        discount_position,
        invoiced_at,
        false as is_on_line,
        owner_item_period_id
    from {{ ref('int_discounts__active') }}
),

known as (
    select
        applied.*,
        discounts.coupon_id,
        discounts.start_at,
        discounts.end_at,
        coupons.percent_off,
        -- A fixed amount has one value per currency; null where Stripe does not show it.
        case
            when coupons.currency = applied.currency then coupons.amount_off
            else (coupons.currency_options -> applied.currency ->> 'amount_off')::numeric
        end as amount_off,
        coalesce(coupons.amount_off is not null, false) as is_fixed_amount,
        coupons.duration,
        coupons.redeem_by,
        coupons.discount_reason,
        coalesce(coupons.discount_reason, discounts.coupon_id, applied.discount_id) as discount_kind
    from applied
    left join {{ ref('stg_stripe__discounts') }} as discounts on applied.discount_id = discounts.discount_id
    left join {{ ref('stg_stripe__coupons') }} as coupons on discounts.coupon_id = coupons.coupon_id
),

counted as (
    select
        known.item_period_id,
        known.discount_id,
        count(distinct invoices.invoiced_at) as invoices_before
    from known
    inner join {{ ref('int_discounts__invoices') }} as invoices
        on
            known.subscription_id = invoices.subscription_id
            and known.discount_kind = invoices.discount_kind
            and known.invoiced_at > invoices.invoiced_at
    group by known.item_period_id, known.discount_id
)

select
    known.item_period_id,
    known.discount_id,
    known.discount_amount,
    known.discount_position,
    known.invoiced_at,
    known.is_on_line,
    known.owner_item_period_id,
    known.coupon_id,
    known.start_at,
    known.end_at,
    known.percent_off,
    known.amount_off,
    known.is_fixed_amount,
    known.duration,
    known.redeem_by,
    known.discount_reason,
    coalesce(counted.invoices_before, 0) + 1 as discounted_invoice_number
from known
left join counted on known.item_period_id = counted.item_period_id and known.discount_id = counted.discount_id
