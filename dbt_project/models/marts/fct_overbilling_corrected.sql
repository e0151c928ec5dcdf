-- What customers were billed too much and our own corrections gave back: credit notes by what Stripe shows of them, and
-- usage that was taken off a meter before its period was billed. This is no revenue: see fct_revenue_recovered.
with credited as (
    select
        note_lines.credit_note_id,
        sum(note_lines.amount - coalesce(note_lines.discount_amount, 0)) as net_amount
    from {{ ref('stg_stripe__credit_note_lines') }} as note_lines
    group by note_lines.credit_note_id
)

select
    actions.action_id,
    actions.detection_id,
    actions.customer_id,
    actions.subscription_id,
    actions.leakage_type,
    actions.action,
    actions.currency,
    actions.amount as expected_amount,
    case
        when actions.action = 'meter_event' then actions.amount
        when notes.status = 'issued'
            then {{ to_currency_units('credited.net_amount', 'coalesce(currencies.exponent, 2)') }}
        else 0
    end as corrected_amount,
    notes.credit_note_id,
    notes.invoice_id,
    case
        when notes.status = 'issued'
            then {{ to_currency_units('notes.post_payment_amount', 'coalesce(currencies.exponent, 2)') }}
        else 0
    end as paid_back_amount,
    actions.executed_at as corrected_at
from {{ source('ops', 'recovery_actions') }} as actions
left join {{ ref('stg_stripe__credit_notes') }} as notes on actions.action_id = notes.action_id
left join credited on notes.credit_note_id = credited.credit_note_id
left join {{ ref('currencies') }} as currencies on actions.currency = currencies.currency
where
    actions.status = 'confirmed'
    and (actions.action = 'credit_note' or (actions.action = 'meter_event' and actions.leakage_type like 'overbilled%'))
