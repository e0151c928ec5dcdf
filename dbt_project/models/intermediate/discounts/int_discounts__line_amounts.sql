-- What each regular line should have been discounted by, taken off step by step as Stripe does: every discount rounds
-- on what those before it leave, and a fixed amount stops at nothing left. Only lines where entitled and given differ;
-- the given amounts stand wherever the steps before them agree, so that an honest part is exact to the last unit.
with recursive taken as (
    select
        lines.line_id,
        shares.discount_position,
        shares.percent_share,
        shares.is_fixed_amount,
        shares.broken_rule,
        line_discounts.amount::numeric as given_amount,
        lines.gross_amount - coalesce(sum(line_discounts.amount) over (
            partition by lines.line_id order by shares.discount_position, shares.discount_id
            rows between unbounded preceding and 1 preceding
        ), 0) as given_base,
        coalesce(spares.spare_amount, 0) as spare_amount
    from {{ ref('int_billed__lines') }} as lines
    inner join {{ ref('stg_stripe__invoice_line_discounts') }} as line_discounts
        on lines.line_id = line_discounts.line_id and line_discounts.amount != 0
    inner join {{ ref('int_discounts__shares') }} as shares
        on lines.item_period_id = shares.item_period_id and line_discounts.discount_id = shares.discount_id
    left join {{ ref('int_discounts__spares') }} as spares
        on lines.line_id = spares.line_id and line_discounts.discount_id = spares.discount_id
    where not lines.is_proration
),

differing as (
    select
        lines.line_id,
        lines.item_period_id,
        lines.gross_amount,
        periods.rounding_unit,
        entitlements.contract_id,
        entitlements.entitled_percent,
        entitlements.entitled_percent = entitlements.billed_percent as has_given_percents
    from {{ ref('int_billed__lines') }} as lines
    inner join {{ ref('int_periods__item_periods') }} as periods on lines.item_period_id = periods.item_period_id
    inner join {{ ref('int_discounts__entitlements') }} as entitlements
        on lines.item_period_id = entitlements.item_period_id
    where not lines.is_proration and not entitlements.is_as_given
),

rightful as (
    select
        taken.line_id,
        taken.discount_position,
        taken.percent_share,
        taken.is_fixed_amount,
        taken.given_base,
        taken.given_amount,
        taken.spare_amount
    from differing
    inner join taken on differing.line_id = taken.line_id
    where
        (taken.broken_rule is null and (differing.contract_id is null or taken.is_fixed_amount))
        or (not taken.is_fixed_amount and differing.contract_id is not null and differing.has_given_percents)
    union all
    -- The contract's percent in place of the coupons' percents; before the fixed amounts where there were none.
    select
        differing.line_id,
        coalesce(min(taken.discount_position), -1) as discount_position,
        differing.entitled_percent as percent_share,
        false as is_fixed_amount,
        null as given_base,
        null as given_amount,
        null as spare_amount
    from differing
    left join taken on differing.line_id = taken.line_id and not taken.is_fixed_amount
    where differing.contract_id is not null and not differing.has_given_percents
    group by differing.line_id, differing.entitled_percent
),

steps as (
    select
        rightful.*,
        row_number() over (partition by rightful.line_id order by rightful.discount_position) as step
    from rightful
),

walked as (
    select
        line_id,
        item_period_id,
        rounding_unit,
        0::bigint as step,
        gross_amount as left_over,
        0::numeric as discount_amount
    from differing
    union all
    select
        walked.line_id,
        walked.item_period_id,
        walked.rounding_unit,
        steps.step,
        walked.left_over - next_off.amount as left_over,
        walked.discount_amount + next_off.amount as discount_amount
    from walked
    inner join steps on walked.line_id = steps.line_id and walked.step + 1 = steps.step
    cross join lateral (
        values (
            case
                when steps.given_base = walked.left_over then steps.given_amount
                when steps.is_fixed_amount
                    then least(steps.given_amount + steps.spare_amount, walked.left_over)
                else {{ round_money('walked.left_over * steps.percent_share', 'walked.rounding_unit') }}
            end
        )
    ) as next_off (amount)
)

select distinct on (line_id)
    line_id,
    item_period_id,
    discount_amount as entitled_discount
from walked
order by line_id, step desc
