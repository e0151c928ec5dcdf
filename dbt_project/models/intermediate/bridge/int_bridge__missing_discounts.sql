-- Fixed amounts off that a missing invoice would have carried, over its lines as Stripe splits them: by what earlier
-- discounts leave of each, floored, the rest to the last line; percents that come later shrink what is left of them.
with missing as (
    select
        billed.charge_id,
        billed.item_period_id,
        billed.subscription_id,
        billed.rounding_unit,
        case when billed.charge_kind = 'usage' then billed.period_end else billed.period_start end as billed_at,
        amounts.expected
    from {{ ref('int_bridge__billed_charges') }} as billed
    inner join {{ ref('int_rating__amounts') }} as amounts on billed.charge_id = amounts.charge_id
    where billed.is_missing_invoice and amounts.expected > 0
),

percents as (
    -- A contract's percent stands for all percents of the coupons, before every fixed amount.
    select
        shares.item_period_id,
        shares.discount_position,
        1 - least(shares.percent_share, 0.999999999) as left_share
    from {{ ref('int_discounts__shares') }} as shares
    inner join {{ ref('int_discounts__entitlements') }} as entitlements
        on shares.item_period_id = entitlements.item_period_id
    where
        entitlements.contract_id is null
        and shares.broken_rule is null
        and shares.percent_share > 0
        and not shares.is_on_line
    union all
    select
        item_period_id,
        -1 as discount_position,
        1 - least(entitled_percent, 0.999999999) as left_share
    from {{ ref('int_discounts__entitlements') }}
    where contract_id is not null and entitled_percent > 0
),

weighted as (
    select
        missing.charge_id,
        missing.subscription_id,
        missing.billed_at,
        missing.rounding_unit,
        shares.discount_id,
        shares.amount_off,
        missing.expected * coalesce(exp(sum(ln(percents.left_share)) filter (
            where percents.discount_position < shares.discount_position
        )), 1) as left_amount,
        coalesce(exp(sum(ln(percents.left_share)) filter (
            where percents.discount_position >= shares.discount_position
        )), 1) as later_share
    from missing
    inner join {{ ref('int_discounts__shares') }} as shares
        on missing.item_period_id = shares.item_period_id
    left join percents on missing.item_period_id = percents.item_period_id
    where shares.is_fixed_amount and shares.amount_off > 0 and shares.broken_rule is null and not shares.is_on_line
    group by
        missing.charge_id, missing.subscription_id, missing.billed_at, missing.rounding_unit, missing.expected,
        shares.discount_id, shares.amount_off, shares.discount_position
),

split as (
    select
        weighted.*,
        least(weighted.amount_off, round(sum(weighted.left_amount) over invoice, 6)) as invoice_amount,
        floor(
            round(
                least(weighted.amount_off, sum(weighted.left_amount) over invoice)
                * weighted.left_amount
                / sum(weighted.left_amount) over invoice,
                6
            )
            / weighted.rounding_unit
        ) * weighted.rounding_unit as floored_amount,
        row_number() over (invoice order by weighted.charge_id desc) as from_last
    from weighted
    window invoice as (partition by subscription_id, billed_at, discount_id)
),

placed as (
    select
        split.*,
        case
            when split.from_last = 1
                then split.invoice_amount - sum(split.floored_amount) over (
                    partition by split.subscription_id, split.billed_at, split.discount_id
                ) + split.floored_amount
            else split.floored_amount
        end as line_amount
    from split
)

select
    charge_id,
    {{ round_money('sum(line_amount * later_share)', 'rounding_unit') }} as amount_off
from placed
group by charge_id, rounding_unit
