-- One row per tier that a question reaches. Graduated: each slice at its own rate and the flat fee of every tier
-- entered. Volume: all units at the rate of the tier reached and its flat fee. up_to is inclusive. Unit part and flat
-- part are rounded each by itself (billing model 7.13): half away from zero, proration by the floor.
with reached as (
    select
        requests.charge_id,
        requests.question,
        requests.rate_id,
        tiers.tier_index,
        tiers.from_quantity,
        tiers.up_to,
        tiers.unit_amount,
        tiers.flat_amount,
        requests.rated_quantity,
        requests.multiplier,
        case
            when requests.tiers_mode = 'volume' then requests.rated_quantity
            else least(requests.rated_quantity, coalesce(tiers.up_to, requests.rated_quantity)) - tiers.from_quantity
        end as units,
        -- A twelfth of a yearly price, or a package in parts: a division that leaves endless digits behind.
        requests.multiplier != trunc(requests.multiplier)
        or coalesce(requests.round_mode = 'none', false) as is_divided,
        -- The first tier's flat fee is owed at zero usage too, unless an included quantity stands before it (7.14).
        requests.rated_quantity > tiers.from_quantity or requests.included_quantity = 0 as owes_flat_fee
    from {{ ref('int_rating__requests') }} as requests
    inner join {{ ref('int_terms__rate_tiers') }} as tiers on requests.rate_id = tiers.rate_id
    where
        (requests.rated_quantity > tiers.from_quantity or tiers.tier_index = 0)
        and (
            requests.tiers_mode != 'volume'
            or tiers.up_to is null
            or requests.rated_quantity <= tiers.up_to
        )
),

shared as (
    select
        reached.*,
        charges.share_seconds,
        charges.full_seconds,
        charges.sign_and_discount,
        charges.is_floored,
        given_back.by_line as is_floored_by_part,
        periods.rounding_unit,
        -- Nine decimals take off what a division by twelve or by seconds leaves behind, before any floor. Without a
        -- division nothing may be taken off: 0.499999999999 of a cent is none.
        case when reached.is_divided or charges.share_seconds != charges.full_seconds then 9 else 30 end as decimals,
        case
            when given_back.by_line then {{ round_money('whole.unit_part', 'periods.rounding_unit') }}
            else whole.unit_part
        end * charges.sign_and_discount * charges.share_seconds / charges.full_seconds as exact_unit_part,
        case when reached.owes_flat_fee then reached.flat_amount else 0 end * reached.multiplier
        * charges.sign_and_discount * charges.share_seconds / charges.full_seconds as exact_flat_part
    from reached
    inner join {{ ref('int_rating__charges') }} as charges on reached.charge_id = charges.charge_id
    inner join {{ ref('int_periods__item_periods') }} as periods on charges.item_period_id = periods.item_period_id
    -- Flexible mode gives back what was charged, each rounded line by itself: so would a credit that is on no line.
    cross join lateral (values (reached.units * reached.unit_amount * reached.multiplier)) as whole (unit_part)
    cross join
        lateral (
            values (coalesce(
                charges.change_kind is not null
                and charges.sign_and_discount < 0
                and periods.billing_mode = 'flexible', false
            ))
        ) as given_back (by_line)
)

select
    charge_id,
    question,
    rate_id,
    tier_index,
    from_quantity,
    up_to,
    units,
    unit_amount,
    flat_amount,
    owes_flat_fee,
    multiplier,
    sign_and_discount,
    share_seconds,
    full_seconds,
    is_floored,
    is_floored_by_part,
    rounding_unit,
    decimals,
    exact_unit_part,
    exact_flat_part,
    case
        when is_floored then {{ floor_money('round(exact_unit_part, decimals)', 'rounding_unit') }}
        else {{ round_money('round(exact_unit_part, decimals)', 'rounding_unit') }}
    end as unit_part,
    case
        when is_floored then {{ floor_money('round(exact_flat_part, decimals)', 'rounding_unit') }}
        else {{ round_money('round(exact_flat_part, decimals)', 'rounding_unit') }}
    end as flat_part
from shared
