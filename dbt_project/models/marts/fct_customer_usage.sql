-- The chain from usage log to meter to invoice line to payment, per customer, meter and billing period: a leak is
-- located, not only sized.
with names as (
    select
        stripe_event_name,
        min(meter) as meter
    from {{ ref('stg_business__meter_mappings') }}
    group by stripe_event_name
)

select
    terms.customer_id,
    coalesce(quantities.meter, terms.term_meter, names.meter, terms.stripe_event_name) as meter,
    terms.period_start,
    terms.period_end,
    terms.phase,
    terms.subscription_id,
    terms.currency,
    case when quantities.is_covered_by_log then quantities.true_quantity end as true_quantity,
    quantities.late_quantity,
    case when terms.is_metered_at_stripe then quantities.metered_quantity end as metered_quantity,
    quantities.line_quantity as billed_quantity,
    {{ to_currency_units(
        'coalesce(billed.gross_amount - billed.discount_amount, 0)', 'terms.currency_exponent'
    ) }} as billed_amount,
    {{ to_currency_units('coalesce(billed.paid_amount, 0)', 'terms.currency_exponent') }} as paid_amount,
    case
        when quantities.is_covered_by_log
            then
                quantities.true_quantity
                - case when terms.is_metered_at_stripe then quantities.metered_quantity else 0 end
    end as gap_quantity,
    case
        when quantities.is_covered_by_log and quantities.metered_quantity > 0 and terms.is_metered_at_stripe
            then round(
                (quantities.true_quantity - quantities.metered_quantity) * 100 / quantities.metered_quantity, 4
            )
    end as gap_pct,
    quantities.duplicate_events
from {{ ref('int_terms__metered_terms') }} as terms
inner join {{ ref('int_usage__metered_quantities') }} as quantities on terms.charge_id = quantities.charge_id
left join {{ ref('int_billed__periods') }} as billed
    on terms.item_period_id = billed.item_period_id and terms.is_metered_at_stripe
left join names on terms.stripe_event_name = names.stripe_event_name
