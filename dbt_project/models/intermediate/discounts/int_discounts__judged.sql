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
    select count(*) > 0 as has_contracts from {{ ref('stg_business__contracts') }}
),

ranked as (
    select
        applied.*,
        prices.customer_id,
        prices.subscription_id,
        prices.period_start,
        prices.price_interval,
        dense_rank() over (
            partition by prices.subscription_id order by applied.invoiced_at
        ) as discounted_invoice_number
    from {{ ref('int_discounts__applied') }} as applied
    inner join {{ ref('int_terms__item_period_prices') }} as prices on applied.item_period_id = prices.item_period_id
)

select
    ranked.item_period_id,
    ranked.discount_id,
    ranked.coupon_id,
    ranked.discount_amount,
    ranked.is_on_line,
    ranked.percent_off,
    ranked.amount_off,
    ranked.invoiced_at,
    ranked.start_at,
    ranked.end_at,
    ranked.redeem_by,
    ranked.discounted_invoice_number,
    case
        when ranked.is_on_line and ranked.invoiced_at >= ranked.end_at then 'discount_past_end'
        when ranked.start_at > ranked.redeem_by then 'redeemed_after_expiry'
        when ranked.discount_reason = 'referral' and ranked.discounted_invoice_number > 1 then 'referral_repeated'
        when ranked.discount_reason = 'annual_commitment' and ranked.price_interval != 'year'
            then 'annual_commitment_not_met'
        when ranked.duration = 'forever' and ended_contracts.ended_at <= ranked.period_start then 'discount_past_end'
        when
            ranked.duration = 'forever'
            and contracts_loaded.has_contracts
            and contract_percents.customer_id is null
            then 'coupon_without_contract'
    end as broken_rule
from ranked
cross join contracts_loaded
left join ended_contracts
    on ranked.customer_id = ended_contracts.customer_id and ranked.percent_off = ended_contracts.discount_percent
left join contract_percents
    on ranked.customer_id = contract_percents.customer_id and ranked.percent_off = contract_percents.discount_percent
