-- Gross amounts of each charge in minor units, before discounts. A rate without tiers has a shape we do not know: the
-- charge cannot be rated, and is never taken for 0 (billing model 7.22).
with totals as (
    select
        charge_id,
        sum(unit_part + flat_part) filter (where question = 'expected') as expected,
        sum(unit_part + flat_part) filter (where question = 'expected_terms_billed_quantity')
            as expected_at_billed_quantity,
        sum(unit_part + flat_part) filter (where question = 'expected_known_in_time') as expected_known_in_time,
        sum(unit_part + flat_part) filter (where question = 'stripe_price') as at_stripe_price,
        sum(unit_part + flat_part) filter (where question = 'stripe_price_uncorrected') as at_stripe_price_uncorrected
    from {{ ref('int_rating__tier_amounts') }}
    group by charge_id
)

select
    charges.charge_id,
    case when charges.expected_rate_id is null then 0 else totals.expected end as expected,
    case when charges.expected_rate_id is null then 0 else totals.expected_at_billed_quantity end
        as expected_at_billed_quantity,
    case when charges.expected_rate_id is null then 0 else coalesce(totals.expected_known_in_time, totals.expected) end
        as expected_known_in_time,
    case when charges.is_billed_by_stripe then totals.at_stripe_price else 0 end as at_stripe_price,
    totals.at_stripe_price_uncorrected,
    (charges.expected_rate_id is not null and totals.expected is null)
    or (charges.is_billed_by_stripe and totals.at_stripe_price is null) as cannot_rate
from {{ ref('int_rating__charges') }} as charges
left join totals on charges.charge_id = totals.charge_id
