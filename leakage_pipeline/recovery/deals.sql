-- One deal per customer, finding type and meter that sales should talk about; parameters %(system)s, %(stage)s,
-- %(pipeline)s. The newest period speaks for all; a deal that was made once is not made again when the next period
-- leaks too.
with wanted as (
    select distinct on (findings.customer_id, findings.leakage_type, coalesce(findings.meter, ''))
        findings.*,
        coalesce(findings.meter, '') as lane_meter,
        coalesce(customers.name, findings.customer_id) as customer_name,
        case
            when findings.monthly_leakage_amount > 0 then findings.monthly_leakage_amount
            else findings.leakage_amount
        end as deal_amount
    from marts.fct_leakage_detections as findings
    inner join ops.classifications as advice on findings.detection_id = advice.detection_id
    left join ops.detection_state as state on findings.detection_id = state.detection_id
    left join marts.dim_customers as customers on findings.customer_id = customers.customer_id
    where
        advice.next_action in ('offer_upgrade', 'migrate_price', 'true_up_seats')
        and findings.customer_id is not null
        and coalesce(state.status, 'new') in ('new', 'investigating', 'approved')
    order by
        findings.customer_id, findings.leakage_type, coalesce(findings.meter, ''), findings.period_start desc,
        findings.detection_id
),

keyed as (
    select
        *,
        'deal_' || substr(
            md5(concat_ws('|', customer_id, leakage_type, lane_meter, %(system)s::text)), 1, 27
        ) as action_id
    from wanted
),

titled as (
    select
        *,
        left(customer_name, 100) || ': ' || replace(leakage_type, '_', ' ') || ' [' || action_id || ']' as title
    from keyed
)

insert into wanted_actions (
    action_id, detection_id, action, currency, amount, request, leakage_type, customer_id, subscription_id, meter,
    window_start, window_end, confidence
)
select
    action_id, detection_id, %(system)s || '_deal', currency, deal_amount,
    jsonb_build_array(jsonb_build_object(
        'method', 'POST',
        'path', case %(system)s when 'hubspot' then '/crm/v3/objects/deals' else '/api/v2/deals' end,
        'idempotency_key', action_id,
        'params', jsonb_strip_nulls(case %(system)s
            when 'hubspot' then jsonb_build_object('properties', jsonb_build_object(
                'dealname', title, 'amount', trim_scale(deal_amount)::text, 'deal_currency_code', upper(currency),
                'description', description, 'pipeline', %(pipeline)s::text, 'dealstage', %(stage)s::text
            ))
            else jsonb_build_object(
                'title', title, 'value', trim_scale(deal_amount), 'currency', upper(currency),
                'stage_id', %(stage)s::text::int, 'pipeline_id', %(pipeline)s::text::int
            )
        end)
    )), leakage_type, customer_id, subscription_id, lane_meter, period_start, period_end, confidence
from titled
