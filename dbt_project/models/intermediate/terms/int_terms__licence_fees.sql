-- The licence fees that a period carries: the regular fee, every proration line with the seconds it stands for, and
-- the changes inside the period that stand on no line.
with added_inside as (
    -- An item added inside the period has a proration charge there, and no credit for an older configuration before it
    -- or with it. What comes later, a change or the end, credits the item itself.
    select item_period_id
    from {{ ref('int_billed__lines') }}
    where is_proration
    group by item_period_id
    having
        max(gross_amount) > 0
        and coalesce(min(line_start) filter (where not is_credit) < min(line_start) filter (where is_credit), true)
    union
    select item_period_id
    from {{ ref('int_periods__item_periods') }}
    where added_at is not null
)

select
    prices.item_period_id || '|fee' as charge_id,
    'fee' as charge_kind,
    null::text as line_id,
    null::text as change_kind,
    prices.item_period_id,
    prices.price_id,
    prices.stripe_rate_id,
    prices.quantity,
    1 as direction_sign,
    prices.billable_seconds as share_seconds
from {{ ref('int_terms__item_period_prices') }} as prices
left join {{ ref('int_billed__periods') }} as billed on prices.item_period_id = billed.item_period_id
left join added_inside on prices.item_period_id = added_inside.item_period_id
where
    prices.usage_type = 'licensed'
    and (billed.item_period_id is not null or added_inside.item_period_id is null)
union all
select
    prices.item_period_id || '|' || lines.line_id as charge_id,
    'proration' as charge_kind,
    lines.line_id,
    null as change_kind,
    prices.item_period_id,
    coalesce(lines.price_id, prices.price_id) as price_id,
    'price:' || coalesce(lines.price_id, prices.price_id) || ':' || prices.currency as stripe_rate_id,
    lines.quantity,
    lines.direction_sign,
    extract(epoch from lines.line_end - lines.line_start) as share_seconds
from {{ ref('int_billed__prorations') }} as lines
inner join {{ ref('int_terms__item_period_prices') }} as prices on lines.item_period_id = prices.item_period_id
where prices.usage_type = 'licensed'
union all
select
    changes.charge_id,
    'proration' as charge_kind,
    null as line_id,
    changes.change_kind,
    changes.item_period_id,
    changes.price_id,
    'price:' || changes.price_id || ':' || prices.currency as stripe_rate_id,
    changes.quantity,
    changes.direction_sign,
    changes.due_seconds as share_seconds
from {{ ref('int_terms__unmatched_changes') }} as changes
inner join {{ ref('int_terms__item_period_prices') }} as prices on changes.item_period_id = prices.item_period_id
