-- Gross amounts of each charge in minor units, before discounts. Parts of a whole fee are rounded each by itself; a
-- share of a fee is floored once, whatever tiers the fee comes from, unless it is given back line by line. A rate
-- without tiers has a shape we do not know: the charge cannot be rated, and is never taken for 0 (billing model 7.22).
with answers as (
    select
        charge_id,
        question,
        case
            when bool_or(is_floored) and not bool_or(is_floored_by_part)
                then {{ floor_money(
                    'round(sum(exact_unit_part + exact_flat_part), max(decimals))', 'max(rounding_unit)'
                ) }}
            else sum(unit_part + flat_part)
        end as amount
    from {{ ref('int_rating__tier_amounts') }}
    group by charge_id, question
),

totals as (
    select
        charge_id,
        max(amount) filter (where question = 'expected') as expected,
        max(amount) filter (where question = 'expected_terms_billed_quantity') as expected_at_billed_quantity,
        max(amount) filter (where question = 'expected_known_in_time') as expected_known_in_time,
        max(amount) filter (where question = 'stripe_price') as at_stripe_price,
        max(amount) filter (where question = 'stripe_price_uncorrected') as at_stripe_price_uncorrected
    from answers
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
