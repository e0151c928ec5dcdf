-- Every finalised invoice with a discount, numbered per subscription and kind of discount, whatever the lookback: a
-- referral given again shows only when the earlier invoices count too. Coupons that state a reason share it as kind.
with given as (
    select distinct
        coalesce(lines.subscription_id, invoices.subscription_id) as subscription_id,
        coalesce(coupons.discount_reason, discounts.coupon_id, line_discounts.discount_id) as discount_kind,
        lines.invoice_id,
        invoices.created_at as invoiced_at
    from {{ ref('stg_stripe__invoice_line_discounts') }} as line_discounts
    inner join {{ ref('stg_stripe__invoice_lines') }} as lines on line_discounts.line_id = lines.line_id
    inner join {{ ref('stg_stripe__invoices') }} as invoices on lines.invoice_id = invoices.invoice_id
    cross join {{ ref('stg_business__audit_settings') }} as settings
    left join {{ ref('stg_stripe__discounts') }} as discounts on line_discounts.discount_id = discounts.discount_id
    left join {{ ref('stg_stripe__coupons') }} as coupons on discounts.coupon_id = coupons.coupon_id
    where
        line_discounts.amount != 0
        and not lines.is_proration
        and invoices.status in ('open', 'paid', 'uncollectible')
        and (invoices.finalized_at is null or invoices.finalized_at <= settings.as_of)
)

select
    subscription_id,
    discount_kind,
    invoice_id,
    invoiced_at,
    dense_rank() over (partition by subscription_id, discount_kind order by invoiced_at) as discounted_invoice_number
from given
where subscription_id is not null
