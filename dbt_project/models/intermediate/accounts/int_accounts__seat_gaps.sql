-- Seats in use beyond those billed, where the plan is sold by the seat. A plan that includes several seats for one
-- unit is flat: it names no price for further seats (billing model 7.2). Without word on seats in the price book, a
-- plan counts as sold by the seat once anyone has more than one unit of it.
with fees as (
    select
        charges.charge_id,
        charges.scope_id,
        charges.item_period_id,
        charges.quantity,
        charges.seats_included,
        max(charges.quantity) over (partition by charges.plan_key) as most_units_sold
    from {{ ref('int_terms__licensed_charges') }} as charges
    where charges.charge_kind = 'fee' and charges.is_base
),

latest_change as (
    select distinct on (item_period_id)
        item_period_id,
        quantity
    from {{ ref('int_billed__lines') }}
    where is_proration and gross_amount > 0 and quantity is not null
    order by item_period_id, line_start desc, line_id
)

select
    fees.charge_id,
    seats.seats_in_use,
    coalesce(latest_change.quantity, fees.quantity) as seats_billed,
    fees.seats_included,
    seats.account_ids,
    seats.seats_in_use - greatest(
        coalesce(latest_change.quantity, fees.quantity), coalesce(fees.seats_included, 0)
    ) as missing_seats
from fees
inner join {{ ref('int_accounts__seats') }} as seats on fees.scope_id = seats.scope_id
left join latest_change on fees.item_period_id = latest_change.item_period_id
where
    seats.seats_in_use > greatest(coalesce(latest_change.quantity, fees.quantity), coalesce(fees.seats_included, 0))
    and not coalesce(fees.seats_included > 1 and fees.quantity = 1, fees.most_units_sold <= 1)
