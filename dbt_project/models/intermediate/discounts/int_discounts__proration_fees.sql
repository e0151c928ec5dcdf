-- Proration lines that show no discount, with the amount that they would have without any inside: their share of the
-- fee that the line's price gives for the quantity, in plain units or over the tiers reached. Empty for a price whose
-- shape is not known.
with charges as (
    select
        charges.line_id,
        charges.item_period_id,
        charges.customer_id,
        charges.subscription_id,
        charges.price_id,
        charges.currency,
        charges.rounding_unit,
        charges.direction_sign,
        charges.quantity,
        charges.share_seconds / nullif(charges.full_seconds, 0) as period_share,
        lines.subscription_item_id,
        lines.line_start,
        lines.gross_amount,
        lines.line_count
    from {{ ref('int_terms__licensed_charges') }} as charges
    inner join {{ ref('int_billed__prorations') }} as lines on charges.line_id = lines.line_id
    where charges.charge_kind = 'proration' and lines.discount_amount = 0
),

-- The whole fee of the period at the line's price: plain units, or the tiers that the quantity reaches.
fees as (
    select
        charges.line_id,
        sum(
            case
                when prices.tiers_mode = 'volume' then charges.quantity
                else least(charges.quantity, coalesce(tiers.up_to, charges.quantity)) - tiers.from_quantity
            end * tiers.unit_amount + tiers.flat_amount
        ) as full_fee
    from charges
    inner join {{ ref('stg_stripe__prices') }} as prices on charges.price_id = prices.price_id
    inner join {{ ref('int_terms__rate_tiers') }} as tiers
        on 'price:' || charges.price_id || ':' || charges.currency = tiers.rate_id
    where
        prices.transform_divide_by is null
        and (charges.quantity > tiers.from_quantity or tiers.tier_index = 0)
        and (prices.tiers_mode is distinct from 'volume' or tiers.up_to is null or charges.quantity <= tiers.up_to)
    group by charges.line_id
)

select
    charges.line_id,
    charges.item_period_id,
    charges.customer_id,
    charges.subscription_id,
    charges.subscription_item_id,
    charges.currency,
    charges.rounding_unit,
    charges.line_start,
    charges.line_count,
    charges.gross_amount,
    charges.direction_sign * fees.full_fee * charges.period_share as full_amount
from charges
left join fees on charges.line_id = fees.line_id
