-- What every running subscription will be charged next and when: the licence fees as they were billed last, or the
-- price times the quantity where they have changed since or were never billed.
with last_billed as (
    select distinct on (subscription_item_id)
        subscription_item_id,
        price_id,
        quantity,
        gross_amount - discount_amount as net_amount
    from {{ ref('int_billed__lines') }}
    where not is_proration and gross_amount > 0
    order by subscription_item_id, line_start desc, line_id
),

fees as (
    select
        items.subscription_id,
        items.customer_id,
        items.currency,
        items.currency_exponent,
        items.current_period_start,
        items.current_period_end,
        coalesce(last_billed.net_amount, round(plans.unit_amount_decimal * items.quantity), 0) as fee
    from {{ ref('int_periods__items') }} as items
    inner join {{ ref('int_terms__price_plans') }} as plans on items.price_id = plans.price_id
    left join last_billed
        on
            items.subscription_item_id = last_billed.subscription_item_id
            and items.price_id = last_billed.price_id
            and items.quantity = last_billed.quantity
    where
        items.usage_type = 'licensed'
        and not items.is_removed
        and items.current_period_end is not null
),

due as (
    -- Items of one subscription may renew at different instants: the first of them is the next charge.
    select
        *,
        min(current_period_end) over (partition by subscription_id) as next_charge_at
    from fees
)

select
    due.subscription_id,
    due.customer_id,
    due.currency,
    due.currency_exponent,
    min(due.current_period_start) as period_start,
    due.next_charge_at,
    sum(due.fee) as fee
from due
inner join {{ ref('stg_stripe__subscriptions') }} as subscriptions
    on due.subscription_id = subscriptions.subscription_id
where
    due.current_period_end = due.next_charge_at
    and subscriptions.status in ('active', 'trialing', 'past_due')
    and subscriptions.collection_method = 'charge_automatically'
    and not coalesce(subscriptions.cancel_at_period_end, false)
    and (subscriptions.cancel_at is null or subscriptions.cancel_at > due.next_charge_at)
    and subscriptions.pause_behavior is null
group by due.subscription_id, due.customer_id, due.currency, due.currency_exponent, due.next_charge_at
