-- What invoice lines of any status say about an item's price and quantity: a regular line what held at its period's
-- start; the debit of a proration what held from the change on; a credit that stands alone only what held before.
with stated as (
    select
        lines.subscription_item_id,
        lines.invoice_id,
        lines.price_id,
        lines.amount,
        lines.is_proration,
        lines.amount < 0 or lines.credited_items is not null as is_credit,
        lines.period_start,
        lines.period_end,
        prices.billing_scheme,
        coalesce(lines.subscription_id, invoices.subscription_id) as subscription_id,
        case when prices.usage_type = 'licensed' then coalesce(lines.quantity, 1) end as quantity
    from {{ ref('stg_stripe__invoice_lines') }} as lines
    inner join {{ ref('stg_stripe__invoices') }} as invoices on lines.invoice_id = invoices.invoice_id
    inner join {{ ref('stg_stripe__prices') }} as prices on lines.price_id = prices.price_id
    cross join {{ ref('stg_business__audit_settings') }} as settings
    left join {{ ref('int_billed__repeated_lines') }} as repeated on lines.line_id = repeated.line_id
    where
        repeated.line_id is null
        and coalesce(lines.subscription_id, invoices.subscription_id) is not null
        and prices.price_type = 'recurring'
        and invoices.created_at <= settings.as_of
        and lines.period_start <= settings.as_of
        and lines.period_end > lines.period_start
),

-- A line may name only the subscription: its price tells the item, else the only item is meant.
known_items as (
    select
        subscription_id,
        price_id,
        subscription_item_id
    from stated
    where subscription_item_id is not null
    union
    select
        subscription_id,
        price_id,
        subscription_item_id
    from {{ ref('stg_stripe__subscription_items') }}
),

by_price as (
    select
        subscription_id,
        price_id,
        min(subscription_item_id) as subscription_item_id
    from known_items
    group by subscription_id, price_id
),

sole_item as (
    select
        subscription_id,
        min(subscription_item_id) as subscription_item_id
    from known_items
    group by subscription_id
    having count(distinct subscription_item_id) = 1
),

identified as (
    select
        stated.*,
        coalesce(
            stated.subscription_item_id,
            case when stated.is_proration then by_price.subscription_item_id end,
            case when stated.is_proration then sole_item.subscription_item_id end
        ) as item_id
    from stated
    left join by_price on stated.subscription_id = by_price.subscription_id and stated.price_id = by_price.price_id
    left join sole_item on stated.subscription_id = sole_item.subscription_id
),

-- Tiers make several lines of one invoice; the same period on two invoices is one statement made twice, and so is a
-- line without tiers that is on one invoice twice.
summed as (
    select
        item_id,
        subscription_id,
        price_id,
        period_start,
        case when not is_proration then 'regular' when is_credit then 'credit' else 'debit' end as line_kind,
        max(period_end) as period_end,
        case when billing_scheme = 'per_unit' then max(quantity) else sum(quantity) end as quantity,
        sum(amount) as amount
    from identified
    where item_id is not null
    group by
        item_id, subscription_id, price_id, billing_scheme, period_start, is_proration, is_credit, invoice_id
),

chosen as (
    select distinct on (item_id, period_start, line_kind) *
    from summed
    order by item_id, period_start, line_kind, abs(amount) desc, price_id
)

select
    chosen.item_id as subscription_item_id,
    chosen.subscription_id,
    chosen.line_kind,
    chosen.period_start as observed_at,
    chosen.period_end as observed_until,
    chosen.price_id,
    chosen.quantity,
    credits.price_id as previous_price_id,
    credits.quantity as previous_quantity
from chosen
left join chosen as credits
    on
        chosen.line_kind = 'debit'
        and credits.line_kind = 'credit'
        and chosen.item_id = credits.item_id
        and chosen.period_start = credits.period_start
where
    chosen.line_kind != 'credit'
    or not exists (
        select 1 from chosen as debits
        where
            debits.line_kind = 'debit'
            and debits.item_id = chosen.item_id
            and debits.period_start = chosen.period_start
    )
