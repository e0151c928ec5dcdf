-- What Stripe would put on an invoice for each change of a licence inside a period: a credit of the old configuration
-- and a debit of the new one for the time that is left (billing model, section 2). An anchor that was moved leaves only
-- the credit. Each with the proration lines that carry it, or with none.
with licences as (
    select
        *,
        lead(period_start) over (partition by subscription_item_id order by period_start) as next_start
    from {{ ref('int_terms__item_period_prices') }}
    where usage_type = 'licensed'
),

changes as (
    select
        licences.item_period_id,
        licences.subscription_id,
        changes.changed_at,
        changes.old_price_id,
        changes.old_quantity,
        changes.new_price_id,
        changes.new_quantity,
        changes.is_exact,
        changes.source
    from licences
    inner join {{ ref('int_history__item_changes') }} as changes
        on
            licences.subscription_item_id = changes.subscription_item_id
            and licences.period_start < changes.changed_at
            and licences.period_end > changes.changed_at
),

last_states as (
    select distinct on (item_period_id)
        item_period_id,
        new_price_id,
        new_quantity
    from changes
    order by item_period_id, changed_at desc
),

resets as (
    select
        licences.item_period_id,
        licences.subscription_id,
        licences.period_end as changed_at,
        coalesce(last_states.new_price_id, licences.price_id) as old_price_id,
        coalesce(last_states.new_quantity, licences.quantity) as old_quantity,
        null::text as new_price_id,
        0::numeric as new_quantity,
        true as is_exact,
        'line' as source
    from licences
    left join last_states on licences.item_period_id = last_states.item_period_id
    where licences.next_start = licences.period_end and licences.period_end < licences.natural_end
),

all_changes as (
    select * from changes
    union all
    select * from resets
),

-- A swap of items is a change of price, though each item by itself only comes or goes.
kinds as (
    select
        subscription_id,
        changed_at,
        bool_or(old_quantity > 0 and new_quantity > 0 and old_price_id is distinct from new_price_id)
        or (bool_or(old_quantity = 0) and bool_or(new_quantity = 0)) as is_price_change
    from all_changes
    group by subscription_id, changed_at
),

sides as (
    select
        *,
        'credit' as side,
        -1 as direction_sign,
        old_price_id as price_id,
        old_quantity as quantity
    from all_changes
    where old_quantity > 0
    union all
    select
        *,
        'debit' as side,
        1 as direction_sign,
        new_price_id as price_id,
        new_quantity as quantity
    from all_changes
    where new_quantity > 0
)

select
    sides.item_period_id || '|change:' || extract(epoch from sides.changed_at)::bigint || ':' || sides.side
        as charge_id,
    sides.*,
    licences.subscription_item_id,
    licences.period_end,
    licences.phase,
    licences.ended_at,
    licences.full_seconds,
    case when kinds.is_price_change then 'price' else 'quantity' end as change_kind,
    extract(epoch from licences.natural_end - greatest(sides.changed_at, coalesce(
        case when licences.trial_ended_at >= licences.period_end then licences.natural_end end,
        licences.trial_ended_at, sides.changed_at
    ))) as share_seconds
from sides
inner join licences on sides.item_period_id = licences.item_period_id
inner join kinds on sides.subscription_id = kinds.subscription_id and sides.changed_at = kinds.changed_at
