-- Which findings could be settled at Stripe itself, by which lane, and why not where something stands against it. The
-- lane follows from the period's state: usage is metered while the period or its draft is open; what a finalised
-- invoice left out waits for the next one as an invoice item. Nothing here has been done: see ops.recovery_actions.
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
        end as lane
    from {{ ref('fct_leakage_detections') }}
    where amount_basis = 'measured' and subscription_id is not null and leakage_amount > 0
),

sides as (
    -- What a customer is owed in a period is never left out while we ask for what they owe.
    select
        subscription_id,
        period_start,
        period_end,
        sum(leakage_amount) filter (where direction = 'leak') as leak_amount,
        bool_or(direction = 'leak') and bool_or(direction = 'overbilling') as has_both
    from {{ ref('fct_leakage_detections') }}
    where direction in ('leak', 'overbilling') and amount_basis = 'measured' and subscription_id is not null
    group by subscription_id, period_start, period_end
),

joined as (
    select
        chosen.*,
        currencies.exponent as currency_exponent,
        subscriptions.status as subscription_status,
        prices.tax_behavior,
        usage.meter_id,
        usage.stripe_event_name,
        usage.formula,
        usage.customer_event_key,
        usage.value_event_key,
        usage.summary_start,
        usage.summary_end,
        usage.metered_before,
        usage.metered_after,
        usage.quantity_change,
        usage.occurred_at,
        case
            when sides.has_both then 'the period has overbilling too: settle both together by hand'
            when bridge.difference is null then 'the period cannot be rated'
            when chosen.direction = 'leak' and sides.leak_amount > bridge.difference
                then 'the findings of the period come to more than it lacks'
            when chosen.charge_id is null then 'the finding names no charge'
            when chosen.reporting_amount is null then 'no exchange rate: the caps cannot be kept'
            when currencies.exponent is null then 'the currency is not in the list of currencies'
            when chosen.evidence -> 'doubts' @> '["summary_unknown"]' then 'what the meter has is not known'
            when subscriptions.pause_behavior is not null then 'its collection is paused'
            when subscriptions.status not in ('active', 'trialing', 'past_due')
                then 'the subscription is ' || subscriptions.status || ': no invoice would take it up'
            when chosen.lane = 'meter_event' then usage.held_because
        end as held_because
    from chosen
    inner join {{ ref('stg_stripe__subscriptions') }} as subscriptions
        on chosen.subscription_id = subscriptions.subscription_id
    left join {{ ref('currencies') }} as currencies on chosen.currency = currencies.currency
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
    left join {{ ref('stg_stripe__prices') }} as prices
        on chosen.evidence #>> '{charges,0,stripe_price_id}' = prices.price_id
    left join {{ ref('int_recovery__meter_corrections') }} as usage on chosen.detection_id = usage.detection_id
    where chosen.lane is not null
)

select
    detection_id,
    lane,
    held_because,
    leakage_type,
    direction,
    customer_id,
    subscription_id,
    charge_id,
    meter,
    phase,
    period_start,
    period_end,
    currency,
    currency_exponent,
    leakage_amount,
    round(leakage_amount * power(10::numeric, currency_exponent))::bigint as minor_amount,
    reporting_amount,
    confidence,
    priority_score,
    description,
    evidence,
    nullif(tax_behavior, 'unspecified') as tax_behavior,
    meter_id,
    stripe_event_name,
    formula,
    customer_event_key,
    value_event_key,
    summary_start,
    summary_end,
    metered_before,
    metered_after,
    quantity_change,
    occurred_at
from joined
