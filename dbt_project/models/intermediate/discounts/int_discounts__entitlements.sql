-- Discount as billed and as entitled, per item and period: a percent (stacked percents multiply) and a fixed amount.
with judged as (
    select
        judged.*,
        coalesce(
            judged.percent_off / 100,
            -- A coupon that Stripe no longer shows: the line itself tells its share.
            case
                when judged.amount_off is null and billed.gross_amount != 0
                    then judged.discount_amount / billed.gross_amount
            end,
            0
        ) as percent_share,
        case when judged.amount_off is not null then coalesce(judged.discount_amount, 0) else 0 end as fixed_amount
    from {{ ref('int_discounts__judged') }} as judged
    left join {{ ref('int_billed__periods') }} as billed on judged.item_period_id = billed.item_period_id
),

stacked as (
    select
        item_period_id,
        case
            when max(percent_share) >= 1 then 1
            when count(*) = 1 then max(percent_share)
            else round(1 - exp(sum(ln(1 - least(percent_share, 0.999999999)))), 12)
        end as given_percent,
        sum(fixed_amount) as given_amount_off,
        case
            when coalesce(max(percent_share) filter (where broken_rule is null), 0) >= 1 then 1
            when count(*) filter (where broken_rule is null) <= 1
                then coalesce(max(percent_share) filter (where broken_rule is null), 0)
            else round(
                1 - exp(sum(ln(1 - least(percent_share, 0.999999999))) filter (where broken_rule is null)), 12
            )
        end as rightful_percent,
        coalesce(sum(fixed_amount) filter (where broken_rule is null), 0) as rightful_amount_off,
        bool_or(is_on_line) as is_on_line,
        max(discounted_invoice_number) as discounted_invoice_number,
        (
            array_agg(broken_rule order by broken_rule = 'coupon_without_contract', percent_share desc)
            filter (where broken_rule is not null)
        )[1
        ] as broken_rule,
        (array_agg(discount_id order by broken_rule is null, percent_share desc, discount_id))[1] as discount_id,
        (array_agg(coupon_id order by broken_rule is null, percent_share desc, discount_id))[1] as coupon_id
    from judged
    group by item_period_id
)

select
    periods.item_period_id,
    stacked.discount_id,
    stacked.coupon_id,
    terms.contract_id,
    terms.discount_percent as contract_percent,
    terms.discount_reason as contract_reason,
    terms.threshold_meter,
    terms.threshold_min,
    terms.threshold_quantity,
    coalesce(case when stacked.is_on_line then stacked.given_percent end, 0) as billed_percent,
    coalesce(case when stacked.is_on_line then stacked.given_amount_off end, 0) as billed_amount_off,
    case
        when terms.item_period_id is null then coalesce(stacked.rightful_percent, 0)
        when terms.unmet_reason is not null then 0
        -- A referral is due once: in the first discounted invoice, and nowhere else.
        when terms.discount_reason = 'referral' and coalesce(stacked.discounted_invoice_number, 2) > 1 then 0
        else terms.discount_percent / 100
    end as entitled_percent,
    coalesce(stacked.rightful_amount_off, 0) as entitled_amount_off,
    case
        when terms.item_period_id is null then stacked.broken_rule
        when terms.unmet_reason is not null then terms.unmet_reason
        when terms.discount_reason = 'referral' and stacked.discounted_invoice_number > 1
            then 'referral_repeated'
        when stacked.given_percent > terms.discount_percent / 100 then 'exceeds_contract'
    end as broken_rule
from {{ ref('int_periods__item_periods') }} as periods
left join stacked on periods.item_period_id = stacked.item_period_id
left join {{ ref('int_discounts__contract_terms') }} as terms on periods.item_period_id = terms.item_period_id
where stacked.item_period_id is not null or terms.item_period_id is not null
