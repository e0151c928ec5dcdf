-- What came back by our own corrections, by evidence of Stripe's invoices and payments alone: the line of our invoice
-- item, or what the usage that we told a meter added to the period's invoice. An action that was sent and is not billed
-- yet has recovered nothing; what an invoice bills and nobody has paid is still out.
with billed as (
    select
        action_id,
        (array_agg(invoice_id order by billed_at))[1] as invoice_id,
        sum(net_amount) as net_amount,
        sum(net_amount * paid_share) as paid_net,
        min(billed_at) as billed_at,
        max(paid_at) as paid_at
    from {{ ref('int_billed__corrections') }}
    group by action_id
    union all
    select
        action_id,
        invoice_id,
        net_amount,
        net_amount * paid_share as paid_net,
        billed_at,
        paid_at
    from {{ ref('int_recovery__billed_usage') }}
),

matched as (
    select
        actions.action_id,
        actions.detection_id,
        actions.customer_id,
        actions.subscription_id,
        actions.leakage_type,
        actions.action,
        actions.currency,
        actions.amount,
        actions.executed_at as confirmed_at,
        billed.invoice_id,
        billed.billed_at,
        billed.paid_at,
        coalesce(currencies.exponent, 2) as currency_exponent,
        coalesce(billed.net_amount, 0) as billed_net,
        round(coalesce(billed.paid_net, 0)) as paid_net
    from {{ source('ops', 'recovery_actions') }} as actions
    left join billed on actions.action_id = billed.action_id
    left join {{ ref('currencies') }} as currencies on actions.currency = currencies.currency
    where
        actions.status = 'confirmed'
        and actions.action in ('invoice_item', 'meter_event')
        -- What was given back to a customer is no revenue.
        and actions.leakage_type not like 'overbilled%'
)

select
    action_id,
    detection_id,
    customer_id,
    subscription_id,
    leakage_type,
    action,
    currency,
    amount as expected_amount,
    {{ to_currency_units('billed_net', 'currency_exponent') }} as billed_amount,
    {{ to_currency_units('paid_net', 'currency_exponent') }} as recovered_amount,
    case
        when billed_at is null then amount
        else {{ to_currency_units('billed_net - paid_net', 'currency_exponent') }}
    end as outstanding_amount,
    invoice_id,
    confirmed_at,
    billed_at,
    case when paid_net > 0 then coalesce(paid_at, billed_at) end as recovered_at
from matched
