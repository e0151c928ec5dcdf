-- Seats in use beyond those billed, where the plan is sold by the seat. A plan that includes several seats for one
-- unit is flat: it names no price for further seats (billing model 7.2). Without word on seats in the price book, a
-- plan counts as sold by the seat once anyone has more than one unit of it. Seats bought on another item or
-- subscription of the same plan, and not in use there, count too.
with fees as (
    select
        charges.charge_id,
        charges.scope_id,
        charges.item_period_id,
        charges.plan_key,
        charges.period_start,
        charges.quantity,
        charges.seats_included,
        by_seat.plan_key is not null as is_sold_by_seat
    from {{ ref('int_terms__licensed_charges') }} as charges
    left join {{ ref('int_accounts__plans_by_seat') }} as by_seat on charges.plan_key = by_seat.plan_key
    where charges.charge_kind = 'fee' and charges.is_base
),

latest_change as (
    -- Billed or not: units that a change brought are no missing seats, they are at most an unbilled change.
    select distinct on (item_period_id)
        item_period_id,
        quantity
    from (
        select
            item_period_id,
            quantity,
            line_start as changed_at
        from {{ ref('int_billed__lines') }}
        where is_proration and gross_amount > 0 and quantity is not null
        union all
        select
            item_period_id,
            new_quantity as quantity,
            changed_at
        from {{ ref('int_terms__licence_changes') }}
        where side = 'debit'
    ) as changes
    order by item_period_id, changed_at desc, quantity desc
),

short as (
    select
        fees.charge_id,
        fees.item_period_id,
        fees.plan_key,
        fees.period_start,
        seats.scope_id,
        seats.seats_in_use,
        seats.account_ids,
        fees.seats_included,
        coalesce(latest_change.quantity, fees.quantity) as seats_billed
    from fees
    inner join {{ ref('int_accounts__seats') }} as seats on fees.scope_id = seats.scope_id
    left join latest_change on fees.item_period_id = latest_change.item_period_id
    where
        seats.seats_in_use > greatest(coalesce(latest_change.quantity, fees.quantity), coalesce(fees.seats_included, 0))
        and not coalesce(fees.seats_included > 1 and fees.quantity = 1, not fees.is_sold_by_seat)
),

bought_elsewhere as (
    select
        units.charge_id,
        sum(units.quantity) as quantity
    from (
        select distinct
            short.charge_id,
            prices.item_period_id,
            greatest(0, prices.quantity - coalesce(used.seats_in_use, 0)) as quantity
        from short
        -- Unnested, so that the join is by equality: of an array each pair would have to be looked at.
        cross join lateral unnest(short.account_ids) as mine (account_id)
        inner join {{ ref('int_accounts__candidates') }} as candidates
            on mine.account_id = candidates.account_id and candidates.may_pay and candidates.is_started
        inner join {{ ref('int_terms__item_period_prices') }} as prices
            on
                candidates.subscription_id = prices.subscription_id
                and prices.usage_type = 'licensed'
                and short.plan_key = prices.plan_key
                and short.item_period_id != prices.item_period_id
                and short.period_start >= prices.period_start
                and short.period_start < prices.natural_end
        left join {{ ref('int_terms__scopes') }} as scopes
            on
                prices.item_period_id = scopes.base_item_period_id
                and prices.period_start = scopes.period_start
                and prices.period_end = scopes.period_end
        left join {{ ref('int_accounts__seats') }} as used on scopes.scope_id = used.scope_id
    ) as units
    group by units.charge_id
)

select
    short.charge_id,
    short.seats_in_use,
    short.seats_billed + coalesce(bought_elsewhere.quantity, 0) as seats_billed,
    short.seats_included,
    short.account_ids,
    short.seats_in_use
    - greatest(short.seats_billed + coalesce(bought_elsewhere.quantity, 0), coalesce(short.seats_included, 0))
        as missing_seats
from short
left join bought_elsewhere on short.charge_id = bought_elsewhere.charge_id
where
    short.seats_in_use
    > greatest(short.seats_billed + coalesce(bought_elsewhere.quantity, 0), coalesce(short.seats_included, 0))
