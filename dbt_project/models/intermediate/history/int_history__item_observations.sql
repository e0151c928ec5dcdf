-- Every statement about the price and quantity of a subscription item, from the instant at which it held: events,
-- schedule phases, invoice lines, and what an audit saw (weak: the change itself may be older). 0 units: the item was
-- removed. Statements beat each other in this order when they are for the same instant.
with positive as (
    select
        subscription_item_id,
        subscription_id,
        observed_at,
        price_id,
        quantity,
        previous_price_id,
        previous_quantity,
        true as is_exact,
        'line' as source,
        case line_kind when 'debit' then 2 else 4 end as precedence,
        line_kind = 'debit' and previous_price_id is null as is_added
    from {{ ref('int_history__line_observations') }}
    where line_kind != 'credit'
    union all
    select
        subscription_item_id,
        subscription_id,
        observed_at,
        price_id,
        quantity,
        previous_price_id,
        previous_quantity,
        true as is_exact,
        'event' as source,
        1 as precedence,
        is_added
    from {{ ref('int_history__event_observations') }}
    union all
    select
        subscription_item_id,
        subscription_id,
        observed_at,
        price_id,
        quantity,
        null as previous_price_id,
        null as previous_quantity,
        true as is_exact,
        'schedule' as source,
        3 as precedence,
        false as is_added
    from {{ ref('int_history__schedule_observations') }}
    union all
    select
        subscription_item_id,
        subscription_id,
        observed_at,
        price_id,
        quantity,
        null as previous_price_id,
        null as previous_quantity,
        false as is_exact,
        'snapshot' as source,
        5 as precedence,
        false as is_added
    from {{ ref('int_history__audit_observations') }}
),

-- A credit alone: the item went, or its debit is missing and the next statement tells what it became.
credited as (
    select distinct on (credits.subscription_item_id, credits.observed_at)
        credits.subscription_item_id,
        credits.subscription_id,
        credits.observed_at,
        coalesce(next_statement.price_id, credits.price_id) as price_id,
        case when next_statement.price_id is null then 0 else next_statement.quantity end as quantity,
        credits.price_id as previous_price_id,
        credits.quantity as previous_quantity
    from {{ ref('int_history__line_observations') }} as credits
    left join positive as next_statement
        on
            credits.subscription_item_id = next_statement.subscription_item_id
            and next_statement.observed_at >= credits.observed_at - interval '1 hour'
    where credits.line_kind = 'credit'
    order by credits.subscription_item_id, credits.observed_at, next_statement.observed_at, next_statement.precedence
),

united as (
    select * from positive
    union all
    select
        *,
        true as is_exact,
        'line' as source,
        3 as precedence,
        false as is_added
    from credited
    union all
    select
        subscription_item_id,
        subscription_id,
        removed_at as observed_at,
        price_id,
        0 as quantity,
        null as previous_price_id,
        null as previous_quantity,
        false as is_exact,
        'item' as source,
        6 as precedence,
        false as is_added
    from {{ ref('int_history__replaced_items') }}
)

select distinct on (subscription_item_id, observed_at)
    subscription_item_id,
    subscription_id,
    observed_at,
    price_id,
    quantity,
    previous_price_id,
    previous_quantity,
    is_exact,
    source,
    is_added
from united
order by subscription_item_id, observed_at, precedence, price_id
