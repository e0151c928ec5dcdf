-- Discount as billed and as entitled per item and period (billing model, section 2): whose word holds, the percents
-- (stacked ones multiply), the fixed amounts, and the rule that is broken. The amounts line by line are the next
-- model's.
with stacked as (
    select
        item_period_id,
        case
            when max(percent_share) >= 1 then 1
            when count(*) filter (where percent_share > 0) <= 1 then max(percent_share)
            else round(1 - exp(sum(ln(1 - least(percent_share, 0.999999999)))), 12)
        end as given_percent,
        coalesce(sum(discount_amount) filter (where is_fixed_amount), 0) as given_amount_off,
        case
            when coalesce(max(percent_share) filter (where broken_rule is null), 0) >= 1 then 1
            when count(*) filter (where broken_rule is null and percent_share > 0) <= 1
                then coalesce(max(percent_share) filter (where broken_rule is null), 0)
            else round(
                1 - exp(sum(ln(1 - least(percent_share, 0.999999999))) filter (where broken_rule is null)), 12
            )
        end as rightful_percent,
        coalesce(sum(discount_amount) filter (where is_fixed_amount and broken_rule is null), 0)
            as rightful_amount_off,
        coalesce(bool_or(broken_rule is not null), false) as has_broken,
        coalesce(bool_or(broken_rule is not null and is_fixed_amount), false) as has_broken_amount,
        bool_or(is_on_line) as is_on_line,
        max(discounted_invoice_number) filter (where percent_share > 0) as discounted_invoice_number,
        (
            array_agg(broken_rule order by broken_rule = 'coupon_without_contract', percent_share desc)
            filter (where broken_rule is not null)
        )[1
        ] as broken_rule,
        (
            array_agg(broken_rule order by broken_rule = 'coupon_without_contract', discount_position)
            filter (where broken_rule is not null and is_fixed_amount)
        )[1
        ] as broken_amount_rule,
        (array_agg(discount_id order by broken_rule is null, percent_share desc, discount_id))[1] as discount_id,
        (array_agg(coupon_id order by broken_rule is null, percent_share desc, discount_id))[1] as coupon_id
    from {{ ref('int_discounts__shares') }}
    group by item_period_id
),

-- Periods, and usage of a meter without an item: discounted by the invoice that would bill it.
owners as (
    select
        item_period_id,
        item_period_id as owner_item_period_id
    from {{ ref('int_periods__item_periods') }}
    union all
    select
        item_period_id,
        owner_item_period_id
    from {{ ref('int_discounts__unstated') }}
    where item_period_id != owner_item_period_id
),

decided as (
    select
        owners.item_period_id,
        stacked.discount_id,
        stacked.coupon_id,
        stacked.has_broken,
        stacked.has_broken_amount,
        stacked.broken_rule as coupon_broken_rule,
        stacked.broken_amount_rule,
        stacked.given_percent,
        stacked.discounted_invoice_number,
        terms.contract_id,
        terms.discount_percent as contract_percent,
        terms.discount_reason as contract_reason,
        terms.threshold_meter,
        terms.threshold_min,
        terms.threshold_quantity,
        terms.unmet_reason,
        coalesce(case when stacked.is_on_line then stacked.given_percent end, 0) as billed_percent,
        coalesce(case when stacked.is_on_line then stacked.given_amount_off end, 0) as billed_amount_off,
        coalesce(stacked.rightful_amount_off, 0) as entitled_amount_off,
        case
            when terms.item_period_id is null then coalesce(stacked.rightful_percent, 0)
            when terms.unmet_reason is not null then 0
            -- A referral is due once: in the first discounted invoice, and nowhere else.
            when terms.discount_reason = 'referral' and coalesce(stacked.discounted_invoice_number, 2) > 1 then 0
            else terms.discount_percent / 100
        end as entitled_percent
    from owners
    left join stacked on owners.item_period_id = stacked.item_period_id
    left join {{ ref('int_discounts__contract_terms') }} as terms
        on owners.owner_item_period_id = terms.item_period_id
    where stacked.item_period_id is not null or terms.item_period_id is not null
)

select
    item_period_id,
    discount_id,
    coupon_id,
    contract_id,
    contract_percent,
    contract_reason,
    threshold_meter,
    threshold_min,
    threshold_quantity,
    billed_percent,
    billed_amount_off,
    entitled_percent,
    entitled_amount_off,
    -- Entitled to exactly what was given: the invoice's own amounts hold, with their rounding.
    case
        when contract_id is null then not has_broken
        else entitled_percent = billed_percent and not coalesce(has_broken_amount, false)
    end as is_as_given,
    case
        when contract_id is null then coupon_broken_rule
        when unmet_reason is not null then unmet_reason
        when contract_reason = 'referral' and discounted_invoice_number > 1 then 'referral_repeated'
        when given_percent > contract_percent / 100 then 'exceeds_contract'
        else broken_amount_rule
    end as broken_rule
from decided
