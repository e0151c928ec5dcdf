-- Billing periods that Stripe itself states: non-proration invoice lines of any status, pending items, and the item's
-- current period. They outrank the anchor grid. One row per item and period start; a longer period with the same start
-- wins.
with stated as (
    select
        items.subscription_item_id,
        lines.period_start,
        lines.period_end,
        true as is_on_line
    from {{ ref('stg_stripe__invoice_lines') }} as lines
    inner join {{ ref('int_periods__items') }} as items
        on lines.subscription_item_id = items.subscription_item_id
    where not lines.is_proration and lines.period_end > lines.period_start
    union
    select
        pending.subscription_item_id,
        pending.period_start,
        pending.period_end,
        true as is_on_line
    from {{ ref('stg_stripe__invoice_items') }} as pending
    inner join {{ ref('int_periods__items') }} as items
        on pending.subscription_item_id = items.subscription_item_id
    where pending.invoice_id is null and not pending.is_proration and pending.period_end > pending.period_start
    union
    select
        subscription_item_id,
        current_period_start,
        current_period_end,
        false as is_on_line
    from {{ ref('int_periods__items') }}
    where current_period_end > current_period_start
),

longest as (
    select
        subscription_item_id,
        period_start,
        max(period_end) as period_end,
        bool_or(is_on_line) as is_on_line
    from stated
    group by subscription_item_id, period_start
),

-- The subscription itself was paused: periods end with it, and the next begins when it is resumed.
pauses as (
    select
        items.subscription_item_id,
        pauses.paused_from
    from {{ ref('int_history__subscription_pauses') }} as pauses
    inner join {{ ref('int_periods__items') }} as items on pauses.subscription_id = items.subscription_id
    where pauses.behavior = 'paused'
),

cut as (
    select
        longest.subscription_item_id,
        longest.period_start,
        longest.period_end,
        longest.is_on_line,
        min(pauses.paused_from) as paused_from
    from longest
    left join pauses
        on
            longest.subscription_item_id = pauses.subscription_item_id
            and longest.period_start < pauses.paused_from
            and longest.period_end > pauses.paused_from
    group by longest.subscription_item_id, longest.period_start, longest.period_end, longest.is_on_line
)

select
    subscription_item_id,
    period_start,
    period_end as stated_period_end,
    is_on_line,
    -- An anchor reset starts the next period before this one's stated end.
    least(
        period_end,
        paused_from,
        lead(period_start) over (partition by subscription_item_id order by period_start)
    ) as period_end
from cut
