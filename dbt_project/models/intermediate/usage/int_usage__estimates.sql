-- What usage without a price of its own would come to, in minor units: at the rate that is named for it, else at the
-- list rate of the meter that gives the least (billing model, section 4). Included quantities do not count, and neither
-- does a free first tier, which is Stripe's way to include them. One row per usage that anybody prices.
with candidates as (
    select
        asked.usage_id,
        asked.currency,
        asked.quantity,
        asked.rate_id,
        true as is_own_rate
    from {{ ref('int_usage__estimate_requests') }} as asked
    where asked.rate_id is not null
    union all
    select
        asked.usage_id,
        asked.currency,
        asked.quantity,
        rates.rate_id,
        false as is_own_rate
    from {{ ref('int_usage__estimate_requests') }} as asked
    inner join {{ ref('int_usage__list_rates') }} as rates
        on
            asked.stripe_event_name = rates.stripe_event_name
            and asked.currency = rates.currency
            and (rates.valid_from is null or asked.period_start >= rates.valid_from)
            and (rates.valid_until is null or asked.period_start < rates.valid_until)
    where asked.rate_id is null
),

quantities as (
    select
        candidates.*,
        rates.tiers_mode,
        coalesce(currencies.rounding_unit, 1) as rounding_unit,
        coalesce(free_tiers.free_quantity, 0) + case
            when rates.divide_by is null then candidates.quantity
            when rates.round_mode = 'up' then ceil(candidates.quantity / rates.divide_by)
            when rates.round_mode = 'down' then floor(candidates.quantity / rates.divide_by)
            else candidates.quantity / rates.divide_by
        end as rated_quantity
    from candidates
    inner join {{ ref('int_terms__rates') }} as rates on candidates.rate_id = rates.rate_id
    left join {{ ref('int_usage__free_quantities') }} as free_tiers on candidates.rate_id = free_tiers.rate_id
    left join {{ ref('currencies') }} as currencies on candidates.currency = currencies.currency
),

tiered as (
    select
        quantities.*,
        tiers.tier_index,
        tiers.unit_amount,
        tiers.flat_amount,
        case
            when quantities.tiers_mode = 'volume' then quantities.rated_quantity
            else
                least(quantities.rated_quantity, coalesce(tiers.up_to, quantities.rated_quantity))
                - tiers.from_quantity
        end as units
    from quantities
    inner join {{ ref('int_terms__rate_tiers') }} as tiers
        on
            quantities.rate_id = tiers.rate_id
            and quantities.rated_quantity > tiers.from_quantity
            and (
                quantities.tiers_mode != 'volume' or tiers.up_to is null or quantities.rated_quantity <= tiers.up_to
            )
),

rated as (
    select
        usage_id,
        rate_id,
        is_own_rate,
        sum(
            {{ round_money('units * unit_amount', 'rounding_unit') }}
            + {{ round_money('flat_amount', 'rounding_unit') }}
        ) as amount,
        jsonb_agg(jsonb_build_object(
            'units', trim_scale(units), 'unit_amount', trim_scale(unit_amount), 'flat_amount', trim_scale(flat_amount)
        ) order by tier_index) as tiers
    from tiered
    group by usage_id, rate_id, is_own_rate
)

select distinct on (usage_id)
    usage_id,
    rate_id,
    is_own_rate,
    amount,
    tiers
from rated
where is_own_rate or amount > 0
order by usage_id, amount, rate_id
