-- Charges that stand on a draft invoice, as drafted beside as expected: what would go out wrong, in the steps of the
-- bridge. Usage of a period that was still open an hour ago is judged by the open period's own steps already; here its
-- line is held against what Stripe's price gives. Minor units; one row per charge on a draft.
with lines as (
    select
        periods.item_period_id,
        max(invoices.invoice_id) as invoice_id,
        max(invoices.automatically_finalizes_at) as finalises_at,
        sum(lines.quantity) as draft_quantity,
        sum(lines.amount)::numeric as draft_gross,
        sum(coalesce(lines.discount_amount, 0))::numeric as draft_discount,
        count(*) as line_count,
        array_agg(lines.line_id order by lines.line_id) as line_ids
    from {{ ref('stg_stripe__invoice_lines') }} as lines
    inner join {{ ref('stg_stripe__invoices') }} as invoices on lines.invoice_id = invoices.invoice_id
    inner join {{ ref('int_periods__item_periods') }} as periods
        on
            lines.subscription_item_id = periods.subscription_item_id
            and lines.period_start >= periods.period_start
            and lines.period_start < periods.period_end
    where
        not lines.is_proration
        and invoices.created_at <= periods.as_of
        and (invoices.status = 'draft' or invoices.finalized_at > periods.as_of)
    group by periods.item_period_id
),

joined as (
    select
        charges.charge_id,
        charges.charge_kind,
        charges.scope_id,
        charges.customer_id,
        charges.subscription_id,
        charges.stripe_event_name,
        charges.period_start,
        charges.period_end,
        charges.currency,
        charges.currency_exponent,
        charges.rounding_unit,
        charges.interval_months,
        charges.authority,
        charges.contract_id,
        charges.price_book_id,
        charges.price_id,
        charges.expected_quantity,
        charges.expected_gross,
        charges.expected_net,
        charges.is_projected,
        lines.invoice_id,
        lines.finalises_at,
        lines.line_ids,
        lines.draft_quantity,
        lines.draft_gross,
        lines.draft_gross - lines.draft_discount as draft_net,
        case when charges.charge_kind = 'usage' and not charges.is_projected then charges.quantity_step else 0 end
            as usage_part,
        case when charges.charge_kind = 'fee' then charges.quantity_step else 0 end as quantity_part,
        case when charges.is_projected then 0 else charges.price_step end as price_part,
        case when charges.is_projected then 0 else charges.discount_step end as discount_part,
        -- At the percents that are taken off; a draft's own discount is judged by the rules of discounts alone.
        case
            when abs(charges.stripe_gross - lines.draft_gross) > lines.line_count * charges.rounding_unit
                then {{ round_money(
                    '(charges.stripe_gross - lines.draft_gross) * (1 - coalesce(charges.discount_percent_billed, 0))',
                    'charges.rounding_unit'
                ) }}
            else 0
        end as rating_part
    from {{ ref('int_bridge__charges') }} as charges
    inner join {{ ref('int_rating__charges') }} as rated on charges.charge_id = rated.charge_id
    inner join lines on rated.item_period_id = lines.item_period_id
    where
        charges.charge_kind in ('fee', 'usage')
        and charges.is_billed_by_stripe
        and charges.line_count = 0
        and not charges.cannot_rate
)

select
    joined.*,
    case
        when joined.charge_kind = 'usage'
            then coalesce(quantities.meter, terms.term_meter, joined.stripe_event_name)
    end as meter,
    coalesce(gaps.is_published, false) as is_usage_gap_published
from joined
left join {{ ref('int_terms__metered_terms') }} as terms on joined.charge_id = terms.charge_id
left join {{ ref('int_usage__metered_quantities') }} as quantities on joined.charge_id = quantities.charge_id
left join {{ ref('int_usage__gaps') }} as gaps on joined.charge_id = gaps.charge_id
