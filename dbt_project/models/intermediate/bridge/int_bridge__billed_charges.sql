-- What stands on invoices for each charge, and the discount as billed and as entitled that applies to it.
with due_amounts as (
    select
        item_period_id,
        sum(entitled_discount) as entitled_discount
    from {{ ref('int_discounts__line_amounts') }}
    group by item_period_id
),

spares as (
    select
        item_period_id,
        sum(spare_amount) as spare_amount
    from {{ ref('int_discounts__spares') }}
    group by item_period_id
),

joined as (
    select
        charges.*,
        periods.subscription_id,
        periods.customer_id,
        periods.currency,
        periods.currency_exponent,
        periods.rounding_unit,
        periods.period_start,
        periods.period_end,
        periods.phase,
        periods.is_cut_short,
        coalesce(lines.gross_amount, billed.gross_amount) as line_gross,
        coalesce(lines.discount_amount, billed.discount_amount) as line_discount,
        coalesce(lines.line_count, billed.line_count) as line_count,
        coalesce(lines.line_ids, billed.line_ids) as line_ids,
        coalesce(lines.invoice_ids, billed.invoice_ids) as invoice_ids,
        instants.billed_at is not null as has_invoice_at_instant,
        coalesce(unfinished.has_draft, false) as has_draft,
        unfinished.draft_invoice_id,
        entitlements.entitled_percent,
        entitlements.billed_percent,
        entitlements.contract_percent,
        due_amounts.entitled_discount,
        -- What of the line's amount the discount inside a proration line should have been, beyond what it is.
        1 - (1 - prorations.entitled_share) / nullif(1 - prorations.given_share, 0) as proration_share,
        spares.spare_amount
    from {{ ref('int_rating__charges') }} as charges
    inner join {{ ref('int_periods__item_periods') }} as periods on charges.item_period_id = periods.item_period_id
    left join {{ ref('int_billed__prorations') }} as lines on charges.line_id = lines.line_id
    left join {{ ref('int_billed__periods') }} as billed
        on
            charges.item_period_id = billed.item_period_id
            and charges.charge_kind != 'proration'
            and charges.is_billed_by_stripe
    left join {{ ref('int_billed__billing_instants') }} as instants
        on
            periods.subscription_id = instants.subscription_id
            and case when charges.charge_kind = 'usage' then periods.settles_at else periods.period_start end
            = instants.billed_at
    left join {{ ref('int_billed__unfinished_invoices') }} as unfinished
        on charges.item_period_id = unfinished.item_period_id
    left join {{ ref('int_discounts__entitlements') }} as entitlements
        on
            case when charges.is_billed_by_stripe then charges.item_period_id else charges.charge_id end
            = entitlements.item_period_id
    left join due_amounts on charges.item_period_id = due_amounts.item_period_id
    left join spares on charges.item_period_id = spares.item_period_id
    left join {{ ref('int_discounts__prorations') }} as prorations on charges.line_id = prorations.line_id
)

select
    charge_id,
    charge_kind,
    change_kind,
    item_period_id,
    scope_id,
    subscription_id,
    customer_id,
    currency,
    currency_exponent,
    rounding_unit,
    period_start,
    period_end,
    phase,
    stripe_event_name,
    is_billed_by_stripe,
    is_voided,
    interval_months,
    authority,
    contract_id,
    price_book_id,
    price_id,
    billed_quantity,
    expected_quantity,
    coalesce(line_gross, 0) as line_gross,
    coalesce(line_discount, 0) as line_discount,
    coalesce(line_count, 0) as line_count,
    line_ids,
    invoice_ids,
    has_draft,
    draft_invoice_id,
    contract_percent,
    -- The open period's usage is billed when the period ends: until then what Stripe would bill so far stands for it.
    charge_kind = 'usage' and is_billed_by_stripe and phase = 'open' and line_count is null as is_projected,
    -- Cancelled at once without a final invoice: Stripe drops the usage of the last period (7.18).
    charge_kind = 'usage' and is_billed_by_stripe and phase = 'closed' and line_count is null and is_cut_short
        as is_final_usage_lost,
    -- No line for it and no invoice of the billing instant either: the invoice itself is missing.
    charge_kind in ('fee', 'usage') and is_billed_by_stripe and line_count is null and not has_invoice_at_instant
    and not (charge_kind = 'usage' and (phase = 'open' or is_cut_short))
        as is_missing_invoice,
    case
        when charge_kind = 'proration' then line_discount / nullif(line_gross, 0)
        -- A line of nothing shows no discount: nothing was left out of it.
        when line_count is null or line_gross = 0 then entitled_percent
        else billed_percent
    end as discount_percent_billed,
    case
        when charge_kind = 'proration' then coalesce(proration_share, line_discount / nullif(line_gross, 0))
        else entitled_percent
    end as discount_percent_entitled,
    case
        when charge_kind = 'proration' and proration_share != 0
            then {{ round_money('line_gross * proration_share', 'rounding_unit') }}
        when charge_kind = 'proration' or entitled_discount is null then coalesce(line_discount, 0)
        when line_count is null then 0
        else entitled_discount
    end as entitled_discount,
    case when charge_kind = 'proration' or line_count is null then 0 else coalesce(spare_amount, 0) end as spare_amount
from joined
