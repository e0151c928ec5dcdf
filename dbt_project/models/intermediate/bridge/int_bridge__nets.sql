-- The four net amounts of each charge, in minor units, from which every step of the bridge is a difference:
-- expected (entitled discount), the same at the discount as billed, the expected terms at the billed quantity, and
-- Stripe's price at the billed quantity. At the amount on the lines each discount is the lines' own, exactly, in
-- whatever order percents and fixed amounts were taken off; elsewhere the percents move it and fixed amounts stay.
with known as (
    select
        billed.*,
        amounts.cannot_rate,
        amounts.expected as expected_gross,
        amounts.expected_known_in_time,
        amounts.expected_at_billed_quantity as expected_gross_at_billed_quantity,
        amounts.at_stripe_price as stripe_gross,
        coalesce(missing.amount_off, 0) as missing_amount_off
    from {{ ref('int_bridge__billed_charges') }} as billed
    inner join {{ ref('int_rating__amounts') }} as amounts on billed.charge_id = amounts.charge_id
    left join {{ ref('int_bridge__missing_discounts') }} as missing on billed.charge_id = missing.charge_id
)

select
    *,
    expected_gross - {{ discount_at('expected_gross', 'entitled') }} as expected_net,
    expected_gross - {{ discount_at('expected_gross', 'billed') }} as net_at_billed_discount,
    expected_known_in_time - {{ discount_at('expected_known_in_time', 'billed') }} as net_known_in_time,
    expected_gross_at_billed_quantity - {{ discount_at('expected_gross_at_billed_quantity', 'billed') }}
        as net_at_billed_quantity,
    stripe_gross - {{ discount_at('stripe_gross', 'billed') }} as net_at_stripe_price
from known
