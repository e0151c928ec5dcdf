-- The corrections that the newest audit calls for; parameter %(paid_back_to)s (balance or card). A plan's id is made of
-- the finding, its evidence and the lane: the same audit plans the same action, other evidence another one.
with considered as (
    select
        lanes.*,
        coalesce(lanes.meter, '') as lane_meter,
        case
            -- A credit note is another one once the invoice is paid, or was credited by somebody else.
            when lanes.lane = 'credit_note'
                then md5(concat_ws(
                    '|', ops.evidence_fingerprint(lanes.phase, lanes.leakage_amount, lanes.evidence),
                    lanes.credited_invoice_id, lanes.credit_lines, lanes.post_payment_amount, %(paid_back_to)s::text
                ))
            when lanes.phase = 'closed'
                then ops.evidence_fingerprint(lanes.phase, lanes.leakage_amount, lanes.evidence)
            else md5(concat_ws('|', lanes.phase, trim_scale(lanes.leakage_amount), lanes.evidence - 'doubts'))
        end as evidence_fingerprint,
        bridge.billed_amount,
        bridge.expected_amount,
        concat(
            case lanes.lane when 'credit_note' then 'Credit for ' else 'Correction for ' end, to_char(lanes.period_start at time zone 'utc', 'YYYY-MM-DD'), ' to ',
            to_char(lanes.period_end at time zone 'utc', 'YYYY-MM-DD'), ': ',
            case
                when lanes.lane = 'credit_note'
                    then
                        case lanes.leakage_type
                            when 'overbilled_price' then 'billed above the agreed price'
                            when 'incorrect_discount' then 'agreed discount was not given'
                            when 'overbilled_usage'
                                then 'more usage of ' || coalesce(lanes.meter, 'the service') || ' billed than used'
                            else 'charged more than the price gives'
                        end
                else
                    case lanes.leakage_type
                        when 'outdated_pricing' then 'difference to the agreed price'
                        when 'incorrect_discount' then 'discount beyond what was agreed'
                        when 'seat_leakage' then 'seats in use'
                        when 'missing_invoice' then 'charges that no invoice had'
                        when 'unbilled_proration' then 'change within the period'
                        else 'usage of ' || coalesce(lanes.meter, 'the service')
                    end || ' not billed at the time'
            end
        ) as told
    from marts.fct_correction_lanes as lanes
    left join ops.detection_state as state on lanes.detection_id = state.detection_id
    left join marts.fct_expected_vs_billed as bridge
        on
            lanes.subscription_id = bridge.subscription_id
            and lanes.period_start = bridge.period_start
            and lanes.period_end = bridge.period_end
    where coalesce(state.status, 'new') not in ('dismissed', 'written_off', 'recovered')
),

keyed as (
    select
        *,
        'rcv_' || substr(md5(concat_ws('|', detection_id, evidence_fingerprint, lane)), 1, 28) as action_id
    from considered
),

-- What was sent about the same finding before, on other evidence.
earlier as (
    select
        keyed.action_id,
        bool_or(actions.status = 'sent') as is_under_way,
        bool_or(actions.status = 'reverted') as was_taken_back,
        bool_or(actions.status = 'confirmed' and actions.action = 'invoice_item') as has_invoice_item,
        bool_or(actions.status = 'confirmed' and actions.action = 'credit_note') as has_credit_note,
        max((actions.after ->> 'metered')::numeric) filter (where actions.status = 'confirmed') as metered_then
    from keyed
    inner join ops.recovery_actions as actions
        on keyed.detection_id = actions.detection_id and keyed.action_id != actions.action_id
    where actions.sent_at is not null and actions.status != 'failed'
    group by keyed.action_id
),

-- What waits for an invoice already: the audit still finds it missing, by this type or another one.
outstanding as (
    select
        keyed.action_id,
        sum(greatest(0, actions.amount - coalesce(billed.billed_amount, 0))) as amount
    from keyed
    inner join ops.recovery_actions as actions
        on
            keyed.subscription_id = actions.subscription_id
            and keyed.action_id != actions.action_id
            and keyed.period_start < actions.window_end
            and keyed.period_end > actions.window_start
    left join marts.fct_revenue_recovered as billed on actions.action_id = billed.action_id
    where actions.action = 'invoice_item' and actions.status in ('sent', 'confirmed')
    group by keyed.action_id
),

-- What is planned beside them, the finding that they were sent for left out.
asked as (
    select
        keyed.subscription_id,
        keyed.period_start,
        sum(keyed.leakage_amount) as amount
    from keyed
    where
        keyed.lane = 'invoice_item'
        and not exists (
            select 1 from ops.recovery_actions as actions
            where
                keyed.detection_id = actions.detection_id
                and actions.action = 'invoice_item' and actions.status in ('sent', 'confirmed')
        )
    group by keyed.subscription_id, keyed.period_start
),

judged as (
    select
        keyed.*,
        jsonb_build_object(
            'leakage_action', keyed.action_id,
            'leakage_detection', keyed.detection_id,
            'leakage_type', keyed.leakage_type,
            'leakage_charge', keyed.charge_id
        ) as marks,
        coalesce(
            keyed.held_because,
            case
                when claims.lane != keyed.lane
                    then 'this window is corrected by another lane already: ' || replace(claims.lane, '_', ' ')
                when earlier.was_taken_back then 'an earlier action about this finding was taken back'
                when earlier.has_invoice_item
                    then 'an invoice item about this finding was sent before: look at what is left'
                when earlier.has_credit_note
                    then 'a credit note about this finding was issued before: look at what is left'
                when
                    keyed.lane = 'credit_note' and keyed.post_payment_amount > 0 and %(paid_back_to)s = 'balance'
                    and keyed.subscription_status not in ('active', 'trialing', 'past_due')
                    then
                        'the subscription is ' || keyed.subscription_status
                        || ': no invoice would use up what is put on the balance'
                when
                    keyed.lane = 'invoice_item'
                    and outstanding.amount + asked.amount > keyed.expected_amount - keyed.billed_amount
                    then 'what waits for an invoice already covers it'
                when keyed.formula != 'last' and earlier.metered_then > keyed.metered_before
                    then 'the meter does not show yet what was sent before'
            end
        ) as held
    from keyed
    left join earlier on keyed.action_id = earlier.action_id
    left join outstanding on keyed.action_id = outstanding.action_id
    left join asked
        on keyed.subscription_id = asked.subscription_id and keyed.period_start = asked.period_start
    left join ops.recovery_lanes as claims
        on
            keyed.customer_id = claims.customer_id
            and keyed.subscription_id = claims.subscription_id
            and keyed.lane_meter = claims.meter
            and keyed.period_start = claims.window_start
    where earlier.is_under_way is distinct from true
),

requested as (
    select
        judged.*,
        jsonb_build_array(jsonb_build_object(
            'method', 'POST',
            'path', '/v1/invoiceitems',
            'idempotency_key', judged.action_id,
            'params', jsonb_strip_nulls(jsonb_build_object(
                'customer', judged.customer_id,
                'subscription', judged.subscription_id,
                'currency', judged.currency,
                'amount', judged.minor_amount,
                'description', judged.told,
                'discountable', 'false', -- the amount is net of discounts
                'tax_behavior', judged.tax_behavior,
                'period', jsonb_build_object(
                    'start', extract(epoch from judged.period_start)::bigint,
                    'end', extract(epoch from judged.period_end)::bigint
                ),
                'metadata', judged.marks
            ))
        )) as invoice_item_request,
        jsonb_build_array(jsonb_build_object(
            'method', 'POST',
            'path', '/v1/credit_notes',
            'idempotency_key', judged.action_id,
            'params', jsonb_strip_nulls(jsonb_build_object(
                'invoice', judged.credited_invoice_id,
                'lines', judged.credit_lines,
                'credit_amount', case when %(paid_back_to)s = 'balance' then nullif(judged.post_payment_amount, 0) end,
                'refund_amount', case when %(paid_back_to)s = 'card' then nullif(judged.post_payment_amount, 0) end,
                'reason', case when judged.evidence ->> 'reason' = 'line_repeated' then 'duplicate' end,
                'memo', judged.told,
                'email_type', 'none', -- the customer hears of it in our words, when a person says so
                'metadata', judged.marks
            ))
        )) as credit_note_request,
        (
            select jsonb_agg(
                jsonb_build_object(
                    'method', 'POST',
                    'path', '/v1/billing/meter_events',
                    'idempotency_key', judged.action_id || '-' || event.number,
                    'params', jsonb_build_object(
                        'event_name', judged.stripe_event_name,
                        'identifier', judged.action_id || '-' || event.number,
                        'timestamp', extract(epoch from judged.occurred_at)::bigint,
                        'payload', jsonb_build_object(
                            judged.customer_event_key, judged.customer_id,
                            judged.value_event_key, case judged.formula
                                when 'count' then '1'
                                when 'last' then trim_scale(judged.metered_after)::text
                                else trim_scale(judged.quantity_change)::text
                            end
                        )
                    )
                ) order by event.number
            )
            from generate_series(
                1, case when judged.formula = 'count' then judged.quantity_change::int else 1 end
            ) as event (number)
            where judged.lane = 'meter_event' and judged.held is null
        ) as meter_request
    from judged
)

insert into wanted_actions (
    action_id, detection_id, action, currency, amount, request, evidence_fingerprint, leakage_type, customer_id,
    subscription_id, meter, window_start, window_end, reporting_amount, confidence, held_because, before, after
)
select
    action_id, detection_id, lane, currency, leakage_amount,
    case lane
        when 'invoice_item' then invoice_item_request
        when 'credit_note' then credit_note_request
        else coalesce(meter_request, '[]')
    end, evidence_fingerprint, leakage_type, customer_id, subscription_id, lane_meter, period_start, period_end,
    reporting_amount, confidence, held,
    jsonb_strip_nulls(jsonb_build_object(
        'billed', trim_scale(billed_amount), 'expected', trim_scale(expected_amount),
        'metered', trim_scale(metered_before), 'meter_id', meter_id,
        'summary_start', extract(epoch from summary_start)::bigint,
        'summary_end', extract(epoch from summary_end)::bigint,
        'remaining', amount_remaining, 'credit_total', credit_total, 'credit_net',
        case when lane = 'credit_note' then minor_amount end,
        'invoices', nullif(jsonb_path_query_array(evidence, '$.**.invoice_ids[*]'), '[]')
    )),
    jsonb_strip_nulls(jsonb_build_object(
        'billed', trim_scale(
            billed_amount + case when direction = 'leak' then leakage_amount else -leakage_amount end
        ),
        'metered', trim_scale(metered_after)
    ))
from requested
