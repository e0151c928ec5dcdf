-- Which findings could be settled at Stripe itself, by which lane, and why not where something stands against it. The
-- lane follows from what was found and the period's state (int_recovery__lanes). Nothing here has been done: see
-- ops.recovery_actions.
with joined as (
    select
        lanes.*,
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
        notes.invoice_id as credited_invoice_id,
        notes.amount_remaining,
        notes.credit_lines,
        notes.credit_total,
        notes.post_payment_amount,
        case
            when currencies.exponent is null then 'the currency is not in the list of currencies'
            when lanes.period_held_because is not null then lanes.period_held_because
            when lanes.lane = 'credit_note' then notes.held_because
            when subscriptions.pause_behavior is not null then 'its collection is paused'
            when subscriptions.status not in ('active', 'trialing', 'past_due')
                then 'the subscription is ' || subscriptions.status || ': no invoice would take it up'
            when lanes.lane = 'meter_event' then usage.held_because
        end as held_because
    from {{ ref('int_recovery__lanes') }} as lanes
    inner join {{ ref('stg_stripe__subscriptions') }} as subscriptions
        on lanes.subscription_id = subscriptions.subscription_id
    left join {{ ref('currencies') }} as currencies on lanes.currency = currencies.currency
    left join {{ ref('stg_stripe__prices') }} as prices
        on lanes.evidence #>> '{charges,0,stripe_price_id}' = prices.price_id
    left join {{ ref('int_recovery__meter_corrections') }} as usage on lanes.detection_id = usage.detection_id
    left join {{ ref('int_recovery__credit_notes') }} as notes on lanes.detection_id = notes.detection_id
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
    occurred_at,
    subscription_status,
    credited_invoice_id,
    amount_remaining,
    credit_lines,
    credit_total,
    post_payment_amount
from joined
