-- The bridge of every charge (billing model section 4) by its own lines, in minor units: expected minus billed, split
-- once and completely; what was billed later for the same period is taken off in int_bridge__charges. Each step is
-- measured net of the discount as billed; the discount step at the expected price.
with steps as (
    select
        *,
        case when is_projected then net_at_stripe_price else line_gross - line_discount end as billed_net,
        is_missing_invoice or is_final_usage_lost or change_kind is not null as is_whole,
        net_at_billed_discount - net_at_billed_quantity as quantity_step,
        net_at_billed_discount - net_known_in_time as late_step,
        net_at_billed_quantity - net_at_stripe_price as price_step,
        expected_net - net_at_billed_discount as discount_step,
        case
            when is_projected or not is_billed_by_stripe then 0
            else net_at_stripe_price - (line_gross - line_discount)
        end as rating_step,
        -- Nothing is taken off the line because the contract's percent is already inside a lower price.
        contract_percent is not null and line_discount = 0
        and expected_net < net_at_billed_discount
        and net_at_billed_quantity > net_at_stripe_price as is_discount_in_price
    from {{ ref('int_bridge__nets') }}
)

select
    *,
    case when is_missing_invoice then expected_net else 0 end as missing_invoice_step,
    case
        when is_final_usage_lost then expected_net
        when not is_whole and charge_kind = 'usage' then quantity_step
        else 0
    end as usage_gap_step,
    -- The part of the usage gap that came too late for the invoice; split only where both parts point the same way.
    case
        when not is_whole and charge_kind = 'usage' and late_step > 0 and quantity_step >= late_step then late_step
        else 0
    end as late_usage_step,
    case
        when change_kind = 'price' then expected_net
        when is_whole then 0
        when is_discount_in_price then price_step + discount_step
        else price_step
    end as price_gap_step,
    case
        when change_kind = 'quantity' then expected_net
        when is_whole or charge_kind = 'usage' then 0
        else quantity_step
    end as quantity_gap_step,
    case when is_whole or is_discount_in_price then 0 else discount_step end as discount_gap_step,
    case when is_whole or abs(rating_step) <= line_count * rounding_unit then 0 else rating_step end as rating_gap_step,
    case when not is_whole and abs(rating_step) <= line_count * rounding_unit then rating_step else 0 end
        as rounding_step
from steps
