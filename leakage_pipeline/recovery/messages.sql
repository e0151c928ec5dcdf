-- Messages that the newest audit's advice calls for: a mail to the customer, word for word as it was drafted, and a
-- Slack message to the team that has to act. One per leak and action, however many periods it has: the newest speaks for
-- all. What happens once, such as a limit that is near, has one per finding, and per soft cap. No address is in here.
-- Parameters: %(mails)s, %(teams)s (whether either is wanted), %(one_off)s (types), %(owners)s (by action: team,
-- channel, label).
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
)

insert into wanted_actions (
    action_id, detection_id, action, currency, amount, request, leakage_type, customer_id, subscription_id, meter,
    window_start, window_end, confidence, held_because, before
)
select
    action_id, detection_id, action, currency, leakage_amount,
    jsonb_build_array(request || jsonb_build_object('idempotency_key', action_id)), leakage_type, customer_id,
    subscription_id, coalesce(meter, ''), period_start, period_end, confidence, held,
    -- What the newest period speaks for, so that whoever releases it knows.
    jsonb_strip_nulls(jsonb_build_object('periods', periods, 'total', trim_scale(total_amount)))
from wanted
