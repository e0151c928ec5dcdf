-- The four net amounts of each charge, in minor units, from which every step of the bridge is a difference:
-- expected (entitled discount), the same at the discount as billed, the expected terms at the billed quantity, and
-- Stripe's price at the billed quantity.
select
    billed.*,
    amounts.cannot_rate,
    amounts.expected as expected_gross,
    amounts.expected_at_billed_quantity as expected_gross_at_billed_quantity,
    amounts.at_stripe_price as stripe_gross,
    amounts.expected
    - {{ round_money('amounts.expected * coalesce(billed.discount_percent_entitled, 0)', 'billed.rounding_unit') }}
    - billed.discount_amount_entitled as expected_net,
    amounts.expected
    - {{ round_money('amounts.expected * coalesce(billed.discount_percent_billed, 0)', 'billed.rounding_unit') }}
    - billed.discount_amount_billed as net_at_billed_discount,
    amounts.expected_at_billed_quantity
    - {{ round_money(
        'amounts.expected_at_billed_quantity * coalesce(billed.discount_percent_billed, 0)', 'billed.rounding_unit'
    ) }}
    - billed.discount_amount_billed as net_at_billed_quantity,
    amounts.at_stripe_price
    - {{ round_money(
        'amounts.at_stripe_price * coalesce(billed.discount_percent_billed, 0)', 'billed.rounding_unit'
    ) }}
    - billed.discount_amount_billed as net_at_stripe_price
from {{ ref('int_bridge__billed_charges') }} as billed
inner join {{ ref('int_rating__amounts') }} as amounts on billed.charge_id = amounts.charge_id
