-- The questions put to the rating: each charge at its expected terms and quantity, at its expected terms and the
-- billed quantity, and at Stripe's own price and the billed quantity. The differences between them are the bridge.
-- Where usage came late, also what could be known in time, so that the late part is a difference of whole quantities.
with corrections as (
    select
        charge_id,
        sum(quantity_change) as quantity_change
    from {{ ref('int_recovery__metered_corrections') }}
    group by charge_id
),

questions as (
    select
        charge_id,
        'expected' as question,
        expected_rate_id as rate_id,
        expected_quantity as quantity,
        included_quantity,
        grace_percent,
        expected_multiplier as multiplier
    from {{ ref('int_rating__charges') }}
    union all
    select
        charge_id,
        'expected_terms_billed_quantity' as question,
        expected_rate_id as rate_id,
        billed_quantity as quantity,
        included_quantity,
        grace_percent,
        expected_multiplier as multiplier
    from {{ ref('int_rating__charges') }}
    union all
    select
        charge_id,
        'expected_known_in_time' as question,
        expected_rate_id as rate_id,
        known_in_time_quantity as quantity,
        included_quantity,
        grace_percent,
        expected_multiplier as multiplier
    from {{ ref('int_rating__charges') }}
    where known_in_time_quantity != expected_quantity
    union all
    select
        charge_id,
        'stripe_price' as question,
        stripe_rate_id as rate_id,
        billed_quantity as quantity,
        0 as included_quantity,
        0 as grace_percent,
        1 as multiplier
    from {{ ref('int_rating__charges') }}
    where is_billed_by_stripe
    union all
    -- What of a bill came back: the same without the usage that we told the meter ourselves.
    select
        charges.charge_id,
        'stripe_price_uncorrected' as question,
        charges.stripe_rate_id as rate_id,
        greatest(0, charges.billed_quantity - corrections.quantity_change) as quantity,
        0 as included_quantity,
        0 as grace_percent,
        1 as multiplier
    from {{ ref('int_rating__charges') }} as charges
    inner join corrections on charges.charge_id = corrections.charge_id
),

chargeable as (
    select
        questions.*,
        rates.tiers_mode,
        rates.divide_by,
        rates.round_mode,
        greatest(
            0, questions.quantity - questions.included_quantity * (1 + questions.grace_percent / 100)
        ) as units_above_included
    from questions
    left join {{ ref('int_terms__rates') }} as rates on questions.rate_id = rates.rate_id
)

select
    charge_id,
    question,
    rate_id,
    quantity,
    included_quantity,
    grace_percent,
    multiplier,
    tiers_mode,
    divide_by,
    round_mode,
    units_above_included,
    case
        when divide_by is null then units_above_included
        when round_mode = 'up' then ceil(units_above_included / divide_by)
        when round_mode = 'down' then floor(units_above_included / divide_by)
        else units_above_included / divide_by
    end as rated_quantity
from chargeable
