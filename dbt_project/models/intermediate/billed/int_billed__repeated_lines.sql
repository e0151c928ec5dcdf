-- Licence and usage lines that say a second time what another line of a finalised invoice says. Tiers of one price may
-- well give equal lines on one invoice: as many as it has tiers that give such a line. Another invoice always repeats.
with finalized as (
    select
        lines.line_id,
        lines.invoice_id,
        lines.subscription_item_id,
        lines.price_id,
        lines.currency,
        coalesce(lines.quantity, 0) as quantity,
        lines.amount,
        lines.unit_amount_decimal,
        lines.period_start,
        lines.period_end,
        invoices.created_at
    from {{ ref('stg_stripe__invoice_lines') }} as lines
    inner join {{ ref('stg_stripe__invoices') }} as invoices on lines.invoice_id = invoices.invoice_id
    where
        not lines.is_proration
        and lines.subscription_item_id is not null
        and invoices.status in ('open', 'paid', 'uncollectible')
),

equal_lines as (
    select
        subscription_item_id,
        price_id,
        period_start,
        period_end,
        quantity,
        amount
    from finalized
    group by subscription_item_id, price_id, period_start, period_end, quantity, amount
    having count(*) > 1
),

numbered as (
    select
        finalized.*,
        dense_rank() over (same_line order by finalized.created_at, finalized.invoice_id) as invoice_number,
        row_number() over (same_line_and_invoice order by finalized.line_id) as line_number,
        count(*) over same_line_and_invoice as line_count
    from equal_lines
    inner join finalized
        on
            equal_lines.subscription_item_id = finalized.subscription_item_id
            and equal_lines.price_id = finalized.price_id
            and equal_lines.period_start = finalized.period_start
            and equal_lines.period_end = finalized.period_end
            and equal_lines.amount = finalized.amount
            and equal_lines.quantity = finalized.quantity
    window
        same_line as (
            partition by
                finalized.subscription_item_id, finalized.price_id, finalized.period_start, finalized.period_end,
                finalized.quantity, finalized.amount
        ),
        same_line_and_invoice as (
            partition by
                finalized.subscription_item_id, finalized.price_id, finalized.period_start, finalized.period_end,
                finalized.quantity, finalized.amount, finalized.invoice_id
        )
),

-- With all units that the invoice's lines of the fee come to.
counted as (
    select
        numbered.line_id,
        numbered.price_id,
        numbered.currency,
        numbered.unit_amount_decimal,
        numbered.quantity,
        numbered.amount,
        numbered.line_count,
        sum(finalized.quantity) as invoice_quantity
    from numbered
    inner join finalized
        on
            numbered.invoice_id = finalized.invoice_id
            and numbered.subscription_item_id = finalized.subscription_item_id
            and numbered.price_id = finalized.price_id
            and numbered.period_start = finalized.period_start
    group by
        numbered.line_id, numbered.price_id, numbered.currency, numbered.unit_amount_decimal, numbered.quantity,
        numbered.amount, numbered.line_count
),

tiers as (
    select
        tiers.price_id,
        tiers.currency,
        tiers.tier_index,
        tiers.up_to,
        tiers.unit_amount_decimal as unit_amount,
        tiers.flat_amount_decimal as flat_amount,
        coalesce(lag(tiers.up_to) over (partition by tiers.price_id, tiers.currency order by tiers.tier_index), 0)
            as from_quantity
    from {{ ref('stg_stripe__price_tiers') }} as tiers
    inner join {{ ref('stg_stripe__prices') }} as prices
        on tiers.price_id = prices.price_id and prices.tiers_mode = 'graduated'
),

-- Leave out one after the other: what is left must be the lines that the tiers give for the units that are left.
tried as (
    select
        counted.line_id,
        counted.line_count - left_out.n as kept,
        count(*) filter (
            where
            case
                when counted.quantity = 0 then tiers.flat_amount = counted.amount
                else
                    coalesce(counted.unit_amount_decimal, tiers.unit_amount) = tiers.unit_amount
                    -- A line of a tiered price need not say its unit amount; its amount does, rounded.
                    and abs(tiers.unit_amount * counted.quantity - counted.amount) <= 5
                    and least(tried_units.units, coalesce(tiers.up_to, tried_units.units)) - tiers.from_quantity
                    = counted.quantity
            end
        ) as lines_given
    from counted
    cross join lateral generate_series(0, counted.line_count - 1) as left_out (n)
    cross join
        lateral (
            values (counted.invoice_quantity - left_out.n * counted.quantity)
        ) as tried_units (units)
    inner join tiers
        on
            counted.price_id = tiers.price_id
            and counted.currency = tiers.currency
            and (tried_units.units > tiers.from_quantity or tiers.tier_index = 0)
    group by counted.line_id, counted.line_count, left_out.n
),

allowed as (
    select
        line_id,
        max(kept) filter (where kept <= lines_given) as equal_tiers
    from tried
    group by line_id
)

select
    numbered.line_id,
    numbered.invoice_id,
    numbered.subscription_item_id
from numbered
left join allowed on numbered.line_id = allowed.line_id
where numbered.invoice_number > 1 or numbered.line_number > greatest(1, coalesce(allowed.equal_tiers, 1))
