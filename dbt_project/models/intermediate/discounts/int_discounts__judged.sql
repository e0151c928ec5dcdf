-- Every applied discount with the rule it breaks, if any, when no contract decides (billing model, incorrect_discount).
-- A redeem_by in the past is no fault by itself: it only closes new redemptions.
with ended_contracts as (
    select
        customer_id,
        discount_percent,
        min(effective_until) as ended_at
    from {{ ref('stg_business__contracts') }}
    where discount_percent > 0 and effective_until is not null
    group by customer_id, discount_percent
),

contract_percents as (
    select distinct
        customer_id,
        discount_percent
    from {{ ref('stg_business__contracts') }}
    where discount_percent > 0
),

contracts_loaded as (
    select count(*) > 0 as has_contracts
    from {{ of_all_customers(ref('stg_business__contracts'), 'raw_business', 'contracts') }}
),

placed as (
    select
        applied.*,
        prices.customer_id,
        prices.period_start,
        prices.interval_months
    from {{ ref('int_discounts__applied') }} as applied
    inner join {{ ref('int_terms__item_period_prices') }} as prices
        on coalesce(applied.owner_item_period_id, applied.item_period_id) = prices.item_period_id
)

select
    placed.item_period_id,
    placed.discount_id,
    placed.coupon_id,
    placed.discount_amount,
    placed.is_on_line,
    placed.percent_off,
    placed.amount_off,
    placed.is_fixed_amount,
    placed.discount_position,
    placed.invoiced_at,
    placed.start_at,
    placed.end_at,
    placed.redeem_by,
    placed.discounted_invoice_number,
    case
        when placed.is_on_line and placed.invoiced_at >= placed.end_at then 'discount_past_end'
        when placed.start_at > placed.redeem_by then 'redeemed_after_expiry'
        when placed.discount_reason = 'referral' and placed.discounted_invoice_number > 1 then 'referral_repeated'
        when placed.discount_reason = 'annual_commitment' and coalesce(placed.interval_months, 0) < 12
            then 'annual_commitment_not_met'
        when placed.duration = 'forever' and ended_contracts.ended_at <= placed.period_start then 'discount_past_end'
        when
            placed.duration = 'forever'
            and contracts_loaded.has_contracts
            and contract_percents.customer_id is null
            then 'coupon_without_contract'
    end as broken_rule
from placed
cross join contracts_loaded
left join ended_contracts
    on placed.customer_id = ended_contracts.customer_id and placed.percent_off = ended_contracts.discount_percent
left join contract_percents
    on placed.customer_id = contract_percents.customer_id and placed.percent_off = contract_percents.discount_percent
