-- What Stripe billed additionally because of the usage that we told it, once the period's invoice is final: its line at
-- the metered quantity less the same at the quantity without ours, at Stripe's own price, net of the discount as
-- billed. Several corrections of one period share it by quantity, to the minor unit.
with charged as (
    select
        nets.*,
        amounts.at_stripe_price_uncorrected as uncorrected_gross,
        billed.finalized_at,
        invoices.invoice_id,
        invoices.paid_at,
        case
            when invoices.status = 'paid' then 1
            when invoices.total > 0 then least(1, invoices.amount_paid::numeric / invoices.total)
            else 0
        end as paid_share
    from {{ ref('int_bridge__nets') }} as nets
    inner join {{ ref('int_rating__amounts') }} as amounts on nets.charge_id = amounts.charge_id
    inner join {{ ref('int_billed__periods') }} as billed on nets.item_period_id = billed.item_period_id
    inner join {{ ref('stg_stripe__invoices') }} as invoices on billed.invoice_ids[1] = invoices.invoice_id
    where amounts.at_stripe_price_uncorrected is not null and nets.line_count > 0
),

added as (
    select
        charge_id,
        currency_exponent,
        rounding_unit,
        finalized_at,
        invoice_id,
        paid_at,
        paid_share,
        net_at_stripe_price - (uncorrected_gross - {{ discount_at('uncorrected_gross', 'billed') }}) as added_net
    from charged
)

select
    corrections.action_id,
    added.charge_id,
    added.invoice_id,
    added.finalized_at as billed_at,
    added.paid_at,
    added.paid_share,
    {{ round_money(
        'added.added_net * corrections.quantity_so_far / nullif(corrections.quantity_in_all, 0)', 'added.rounding_unit'
    ) }}
    - {{ round_money(
        'added.added_net * (corrections.quantity_so_far - corrections.quantity_change)'
        ~ ' / nullif(corrections.quantity_in_all, 0)', 'added.rounding_unit'
    ) }} as net_amount
from {{ ref('int_recovery__metered_corrections') }} as corrections
inner join added on corrections.charge_id = added.charge_id
