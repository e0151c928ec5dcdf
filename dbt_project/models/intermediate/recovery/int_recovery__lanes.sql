-- The lane by which a finding could be settled at Stripe, from what it found and the state of its period, and what in
-- the period stands against it. Usage is metered while the period or its draft is open; what a finalised invoice left
-- out waits for the next one as an invoice item; what it had too much is credited on it.
with chosen as (
    select
        *,
        coalesce(evidence #>> '{charges,0,charge_id}', evidence #>> '{charges,0,0,charge_id}') as charge_id,
        case
            when leakage_type in ('unreported_usage', 'overbilled_usage') and phase in ('open', 'preflight')
                then 'meter_event'
            when
                direction = 'leak' and phase = 'closed' and leakage_type in (
                    'unreported_usage', 'late_usage', 'missing_overage', 'outdated_pricing', 'incorrect_discount',
                    'seat_leakage', 'missing_invoice', 'unbilled_proration', 'final_usage_lost'
                )
                then 'invoice_item'
            when
                direction = 'overbilling' and phase = 'closed' and leakage_type in (
                    'overbilled_usage', 'overbilled_price', 'double_charge', 'incorrect_discount'
                )
                then 'credit_note'
        end as lane
    from {{ ref('fct_leakage_detections') }}
    where amount_basis = 'measured' and subscription_id is not null and leakage_amount > 0
),

sides as (
    -- What a customer is owed in a period is never left out while we ask for what they owe, nor the other way round.
    select
        subscription_id,
        period_start,
        period_end,
        sum(leakage_amount) filter (where direction = 'leak') as leak_amount,
        sum(leakage_amount) filter (where direction = 'overbilling') as over_amount,
        bool_or(direction = 'leak') and bool_or(direction = 'overbilling') as has_both
    from {{ ref('fct_leakage_detections') }}
    where direction in ('leak', 'overbilling') and amount_basis = 'measured' and subscription_id is not null
    group by subscription_id, period_start, period_end
)

select
    chosen.*,
    case
        when sides.has_both and chosen.direction = 'leak'
            then 'the period has overbilling too: settle both together by hand'
        when sides.has_both then 'the period lacks something too: settle both together by hand'
        when bridge.difference is null then 'the period cannot be rated'
        when chosen.direction = 'leak' and sides.leak_amount > bridge.difference
            then 'the findings of the period come to more than it lacks'
        when chosen.lane = 'credit_note' and sides.over_amount > -bridge.difference
            then 'the findings of the period come to more than it has too much'
        when chosen.charge_id is null then 'the finding names no charge'
        when chosen.reporting_amount is null then 'no exchange rate: the caps cannot be kept'
        when chosen.evidence -> 'doubts' @> '["summary_unknown"]' then 'what the meter has is not known'
    end as period_held_because
from chosen
left join sides
    on
        chosen.subscription_id = sides.subscription_id
        and chosen.period_start = sides.period_start
        and chosen.period_end = sides.period_end
left join {{ ref('fct_expected_vs_billed') }} as bridge
    on
        chosen.subscription_id = bridge.subscription_id
        and chosen.period_start = bridge.period_start
        and chosen.period_end = bridge.period_end
where chosen.lane is not null
