-- Every expected charge, one row per tier that it reaches, so that any amount can be recomputed with a calculator:
-- quantity_above = quantity - included_quantity x (1 + grace_percent / 100), never below 0;
-- rated_quantity = quantity_above / package_size, rounded as package_rounding says; of it, units fall into the tier;
-- unit_part = units x unit_amount x multiplier x sign x (1 - discount_inside_percent / 100) x share_seconds
-- / full_seconds, and flat_part the same from flat_amount, each rounded by rounding_rule to smallest_amount.
-- A share of a fee is floored once: each part of it is what it adds to the floored sum.
with summed as (
    select
        charge_id,
        tier_index,
        rounding_unit,
        round(sum(exact_unit_part + exact_flat_part) over upto - exact_unit_part - exact_flat_part, decimals)
            as sum_before,
        round(sum(exact_unit_part + exact_flat_part) over upto - exact_flat_part, decimals) as sum_with_unit,
        round(sum(exact_unit_part + exact_flat_part) over upto, decimals) as sum_with_flat
    from {{ ref('int_rating__tier_amounts') }}
    where question = 'expected' and is_floored and not is_floored_by_part
    window upto as (partition by charge_id order by tier_index)
),

parts as (
    select
        tiers.*,
        coalesce(
            {{ floor_money('summed.sum_with_unit', 'summed.rounding_unit') }}
            - {{ floor_money('summed.sum_before', 'summed.rounding_unit') }},
            tiers.unit_part
        ) as unit_amount_part,
        coalesce(
            {{ floor_money('summed.sum_with_flat', 'summed.rounding_unit') }}
            - {{ floor_money('summed.sum_with_unit', 'summed.rounding_unit') }},
            tiers.flat_part
        ) as flat_amount_part
    from {{ ref('int_rating__tier_amounts') }} as tiers
    left join summed on tiers.charge_id = summed.charge_id and tiers.tier_index = summed.tier_index
    where tiers.question = 'expected'
)

select
    tiers.charge_id,
    charges.customer_id,
    charges.subscription_id,
    charges.period_start,
    charges.period_end,
    charges.phase,
    charges.charge_kind,
    charges.stripe_event_name,
    charges.authority,
    charges.contract_id,
    charges.price_book_id,
    charges.price_id,
    tiers.rate_id,
    charges.currency,
    requests.quantity,
    requests.included_quantity,
    requests.grace_percent,
    requests.units_above_included as quantity_above,
    requests.divide_by as package_size,
    requests.round_mode as package_rounding,
    requests.rated_quantity,
    requests.tiers_mode,
    tiers.tier_index,
    tiers.from_quantity,
    tiers.up_to,
    tiers.units,
    tiers.unit_amount / power(10::numeric, charges.currency_exponent) as unit_amount,
    case when tiers.owes_flat_fee then tiers.flat_amount / power(10::numeric, charges.currency_exponent) else 0 end
        as flat_amount,
    tiers.multiplier,
    case when tiers.sign_and_discount < 0 then -1 else 1 end as sign,
    (1 - abs(tiers.sign_and_discount)) * 100 as discount_inside_percent,
    tiers.share_seconds,
    tiers.full_seconds,
    round(tiers.share_seconds / tiers.full_seconds, 12) as share_of_period,
    case
        when tiers.is_floored_by_part then 'down_by_line'
        when tiers.is_floored then 'down'
        else 'half_away_from_zero'
    end as rounding_rule,
    {{ to_currency_units('tiers.rounding_unit', 'charges.currency_exponent') }} as smallest_amount,
    {{ to_currency_units('tiers.unit_amount_part', 'charges.currency_exponent') }} as unit_part,
    {{ to_currency_units('tiers.flat_amount_part', 'charges.currency_exponent') }} as flat_part,
    {{ to_currency_units('tiers.unit_amount_part + tiers.flat_amount_part', 'charges.currency_exponent') }} as amount
from parts as tiers
inner join {{ ref('int_rating__requests') }} as requests
    on tiers.charge_id = requests.charge_id and tiers.question = requests.question
inner join {{ ref('int_bridge__charges') }} as charges on tiers.charge_id = charges.charge_id
