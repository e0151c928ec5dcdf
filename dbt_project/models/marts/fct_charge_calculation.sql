-- Every expected charge, one row per tier or flat fee, so that any amount can be recomputed with a calculator:
-- units x unit_amount x multiplier x share_of_period + flat part, each part rounded to the currency's smallest unit.
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
    tiers.rate_id,
    charges.currency,
    charges.expected_quantity as quantity,
    tiers.tier_index,
    tiers.from_quantity,
    tiers.up_to,
    tiers.units,
    tiers.unit_amount / power(10::numeric, charges.currency_exponent) as unit_amount,
    tiers.flat_amount / power(10::numeric, charges.currency_exponent) as flat_amount,
    tiers.multiplier,
    tiers.share_seconds,
    tiers.full_seconds,
    {{ to_currency_units('tiers.unit_part + tiers.flat_part', 'charges.currency_exponent') }} as amount
from {{ ref('int_rating__tier_amounts') }} as tiers
inner join {{ ref('int_bridge__charges') }} as charges on tiers.charge_id = charges.charge_id
where tiers.question = 'expected'
