-- Messages that the newest audit's advice calls for: a mail to the customer, word for word as it was drafted, and a
-- Slack message to the team that has to act. One per leak and action, however many periods it has: the newest speaks for
-- all. What happens once, such as a limit that is near, has one per finding, and per soft cap. No address is in here.
-- Parameters: %(mode)s, %(as_of)s, %(mails)s, %(teams)s (whether either is wanted), %(one_off)s (types), %(owners)s
-- (by action: team, channel, label), %(withdrawn)s.
with advised as (
    select distinct on (told.topic)
        told.*,
        count(*) over whole as periods,
        sum(told.leakage_amount) over whole as total_amount
    from (
        select
            findings.*,
            advice.next_action,
            advice.draft_subject,
            advice.draft_body,
            %(owners)s::jsonb -> advice.next_action as owner,
            concat_ws(
                '|', findings.customer_id, findings.subscription_id, findings.leakage_type, findings.meter,
                advice.next_action,
                case
                    when findings.leakage_type = any(%(one_off)s)
                        then concat_ws('|', findings.detection_id, findings.evidence ->> 'soft_cap_percent')
                end
            ) as topic
        from marts.fct_leakage_detections as findings
        inner join ops.classifications as advice on findings.detection_id = advice.detection_id
        left join ops.detection_state as state on findings.detection_id = state.detection_id
        where coalesce(state.status, 'new') in ('new', 'investigating', 'approved')
    ) as told
    window whole as (partition by told.topic)
    order by told.topic, told.period_start desc, told.detection_id
),

mails as (
    select
        advised.*,
        'customer_email' as action,
        'mail_' || substr(md5('mail|' || advised.topic), 1, 27) as action_id,
        case
            when customers.customer_id is null then 'Stripe has no such customer'
            when nullif(customers.email, '') is null then 'the customer has no mail address at Stripe'
        end as held,
        jsonb_build_object(
            'method', 'MAIL',
            'path', 'the address that Stripe has of the customer',
            'params', jsonb_build_object(
                'customer', advised.customer_id, 'subject', advised.draft_subject, 'text', advised.draft_body
            )
        ) as request
    from advised
    left join marts.dim_customers as customers on advised.customer_id = customers.customer_id
    where %(mails)s and advised.customer_id is not null and advised.draft_body is not null
),

slack_messages as (
    select
        advised.*,
        'slack_message' as action,
        'slack_' || substr(md5('slack|' || advised.topic), 1, 26) as action_id,
        null::text as held,
        jsonb_build_object(
            'method', 'POST',
            'path', 'chat.postMessage',
            'params', jsonb_build_object(
                'channel', advised.owner ->> 'channel',
                'text', replace(replace(replace(
                    '*' || (advised.owner ->> 'label') || '* (' || coalesce(advised.customer_id, 'no customer') || ', '
                    || replace(advised.leakage_type, '_', ' ') || '): ' || left(advised.description, 2000),
                    '&', '&amp;'
                ), '<', '&lt;'), '>', '&gt;')
            )
        ) as request
    from advised
    where %(teams)s and advised.owner is not null
),

wanted as (
    select * from mails
    union all
    select * from slack_messages
),

planned as (
    insert into ops.recovery_actions as known (
        action_id, detection_id, action, mode, status, idempotency_key, currency, amount, request, created_at,
        updated_at, leakage_type, customer_id, subscription_id, meter, window_start, window_end, confidence,
        held_because, before, after
    )
    select
        action_id, detection_id, action, %(mode)s, 'planned', action_id, currency, leakage_amount,
        jsonb_build_array(request || jsonb_build_object('idempotency_key', action_id)), %(as_of)s, %(as_of)s,
        leakage_type, customer_id, subscription_id, coalesce(meter, ''), period_start, period_end, confidence, held,
        -- What the newest period speaks for, so that whoever releases it knows.
        jsonb_strip_nulls(jsonb_build_object('periods', periods, 'total', trim_scale(total_amount))), '{}'
    from wanted
    on conflict (action_id) do update set
        mode = excluded.mode,
        detection_id = excluded.detection_id,
        amount = excluded.amount,
        currency = excluded.currency,
        window_start = excluded.window_start,
        window_end = excluded.window_end,
        confidence = excluded.confidence,
        held_because = excluded.held_because,
        before = excluded.before,
        request = excluded.request,
        -- A release holds for the words that were shown.
        status = case when known.request = excluded.request then known.status else 'planned' end,
        approved_by = case when known.request = excluded.request then known.approved_by end,
        error = null,
        updated_at = excluded.updated_at
    where
        known.status in ('planned', 'approved')
        or (known.status = 'reverted' and known.sent_at is null and known.error = %(withdrawn)s)
    returning known.action_id
),

stale as (
    update ops.recovery_actions as actions set
        status = 'reverted', error = %(withdrawn)s, updated_at = %(as_of)s
    from ops.recovery_actions as before
    where
        actions.status in ('planned', 'approved')
        and actions.action in ('customer_email', 'slack_message')
        and before.action_id = actions.action_id
        and not exists (select 1 from wanted where wanted.action_id = actions.action_id)
    returning actions.action_id, before.status
),

noted as (
    insert into ops.audit_log (actor, action, subject, before, after, at)
    select
        'pipeline', 'action_withdrawn', action_id, jsonb_build_object('status', status),
        jsonb_build_object('status', 'reverted', 'error', %(withdrawn)s::text), %(as_of)s
    from stale
    where status = 'approved'
)

select count(*) from planned
