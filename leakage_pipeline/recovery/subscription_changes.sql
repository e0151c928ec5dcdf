-- Drafts of changes to subscriptions that the newest audit's advice calls for; a person makes them in Stripe. One per
-- subscription, finding type and meter: the newest period speaks for all. `after` says how Stripe looks once it is done.
-- Nothing is prorated: what past periods lack is asked for apart. Parameter %(as_of)s.
with advised as (
    select distinct on (findings.subscription_id, findings.leakage_type, coalesce(findings.meter, ''))
        findings.*,
        advice.next_action,
        coalesce(
            findings.evidence #>> '{charges,0,stripe_price_id}', findings.evidence #>> '{charges,0,0,stripe_price_id}'
        ) as price_id,
        nullif((findings.evidence ->> 'expected_quantity')::numeric, 0) as expected_quantity,
        nullif((findings.evidence ->> 'billed_quantity')::numeric, 0) as billed_quantity,
        (findings.evidence #>> '{charges,0,expected_gross_at_billed_quantity}')::numeric as expected_gross
    from marts.fct_leakage_detections as findings
    inner join ops.classifications as advice on findings.detection_id = advice.detection_id
    left join ops.detection_state as state on findings.detection_id = state.detection_id
    where
        advice.next_action in ('true_up_seats', 'migrate_price', 'correct_discount', 'resume_collection')
        and findings.subscription_id is not null
        and coalesce(state.status, 'new') in ('new', 'investigating', 'approved', 'actioned')
    order by
        findings.subscription_id, findings.leakage_type, coalesce(findings.meter, ''), findings.period_start desc,
        findings.detection_id
),

items as (
    select
        advised.detection_id,
        min(items.subscription_item_id) as item_id,
        count(*) as item_count
    from advised
    inner join raw_stripe.subscription_items as items
        on advised.subscription_id = items.subscription_id and advised.price_id = items.price_id
    group by advised.detection_id
),

-- The price of the same product that comes to what is due; a price in Stripe says minor units.
targets as (
    select
        advised.detection_id,
        min(target.price_id) as price_id,
        count(*) as price_count
    from advised
    inner join raw_stripe.prices as billed on advised.price_id = billed.price_id
    inner join staging.currencies on advised.currency = currencies.currency
    inner join raw_stripe.prices as target
        on
            billed.product_id = target.product_id
            and billed.currency = target.currency
            and billed.interval = target.interval
            and billed.interval_count = target.interval_count
            and billed.usage_type = target.usage_type
            and target.active
            and target.billing_scheme = 'per_unit'
            and target.unit_amount_decimal
            = advised.expected_gross * power(10::numeric, currencies.exponent) / coalesce(advised.billed_quantity, 1)
    where advised.next_action = 'migrate_price'
    group by advised.detection_id
),

kept_discounts as (
    select
        advised.detection_id,
        bool_or(given.discount_id = advised.evidence ->> 'discount_id') as is_on_subscription,
        coalesce(
            jsonb_agg(jsonb_build_object('discount', given.discount_id) order by given.discount_id)
                filter (where given.discount_id != advised.evidence ->> 'discount_id'),
            '[]'
        ) as kept
    from advised
    inner join raw_stripe.discounts as given
        on advised.subscription_id = given.subscription_id and given.subscription_item_id is null
    where advised.next_action = 'correct_discount' and (given.end_at is null or given.end_at > %(as_of)s)
    group by advised.detection_id
),

drafted as (
    select
        advised.*,
        'change_' || substr(
            md5(concat_ws('|', advised.subscription_id, advised.leakage_type, advised.meter, advised.next_action)), 1, 25
        ) as action_id,
        case advised.next_action
            when 'true_up_seats' then jsonb_build_object(
                'items', jsonb_build_array(
                    jsonb_build_object('id', items.item_id, 'quantity', ceil(advised.expected_quantity)::bigint)
                )
            )
            when 'migrate_price' then jsonb_build_object(
                'items', jsonb_build_array(jsonb_build_object('id', items.item_id, 'price', targets.price_id))
            )
            when 'correct_discount'
                then jsonb_build_object('discounts', coalesce(nullif(kept_discounts.kept, '[]'), '""'))
            else jsonb_build_object('pause_collection', '')
        end as wanted,
        case
            when
                advised.next_action in ('true_up_seats', 'migrate_price') and items.item_count is distinct from 1
                then 'the subscription has no single item with this price'
            when advised.next_action = 'true_up_seats' and advised.expected_quantity is null
                then 'how many seats are in use is not known'
            when advised.next_action = 'migrate_price' and targets.price_count is null
                then 'Stripe has no price that comes to what was agreed: make one first'
            when advised.next_action = 'migrate_price' and targets.price_count > 1
                then 'Stripe has several prices that come to what was agreed'
            when advised.next_action = 'correct_discount' and kept_discounts.is_on_subscription is not true
                then 'the discount is not on the subscription itself'
        end as held
    from advised
    left join items on advised.detection_id = items.detection_id
    left join targets on advised.detection_id = targets.detection_id
    left join kept_discounts on advised.detection_id = kept_discounts.detection_id
),

requested as (
    select
        *,
        jsonb_build_array(jsonb_build_object(
            'method', 'POST',
            'path', '/v1/subscriptions/' || subscription_id,
            'idempotency_key', action_id,
            'params', case
                when held is not null then '{}'
                when wanted ? 'items' then wanted || '{"proration_behavior": "none"}'
                else wanted
            end
        )) as request
    from drafted
)

insert into wanted_actions (
    action_id, detection_id, action, currency, amount, request, leakage_type, customer_id, subscription_id, meter,
    window_start, window_end, confidence, held_because, after
)
select
    action_id, detection_id, 'subscription_change', currency, leakage_amount, request, leakage_type, customer_id,
    subscription_id, coalesce(meter, ''), period_start, period_end, confidence, held,
    jsonb_strip_nulls(jsonb_build_object('gone_discount', case
        when next_action = 'correct_discount' then evidence ->> 'discount_id'
    end))
from requested
