-- Every charge that a period should carry, licences and usage in one shape: which quantities, rates and share of the
-- period its amounts come from. The unit of all arithmetic after this point.
with voided as (
    -- Paused with void when its invoice was made: a period whose only invoice is void is expected to be 0 (7.8).
    select invoices.item_period_id
    from {{ ref('int_billed__unfinished_invoices') }} as invoices
    left join {{ ref('int_billed__periods') }} as billed on invoices.item_period_id = billed.item_period_id
    where invoices.has_void_in_pause and billed.item_period_id is null
)

select
    licences.charge_id,
    licences.charge_kind,
    licences.line_id,
    licences.change_kind,
    licences.item_period_id,
    licences.scope_id,
    null as stripe_event_name,
    licences.authority,
    licences.contract_id,
    licences.price_book_id,
    licences.price_id,
    licences.stripe_rate_id,
    licences.expected_rate_id,
    licences.interval_months,
    true as is_billed_by_stripe,
    licences.quantity as billed_quantity,
    licences.quantity + coalesce(seat_gaps.missing_seats, 0) as expected_quantity,
    licences.quantity + coalesce(seat_gaps.missing_seats, 0) as known_in_time_quantity,
    0::numeric as included_quantity,
    0::numeric as grace_percent,
    licences.expected_multiplier,
    licences.direction_sign
    -- A proration line without a discount of its own has one inside.
    * case
        when prorations.line_id is not null then 1 - prorations.given_share
        when licences.change_kind is not null then 1 - coalesce(entitlements.entitled_percent, 0)
        else 1
    end as sign_and_discount,
    voided.item_period_id is not null as is_voided,
    case when voided.item_period_id is not null then 0 else licences.share_seconds end as share_seconds,
    licences.full_seconds,
    licences.charge_kind = 'proration' or licences.share_seconds != licences.full_seconds as is_floored
from {{ ref('int_terms__licensed_charges') }} as licences
left join {{ ref('int_accounts__seat_gaps') }} as seat_gaps on licences.charge_id = seat_gaps.charge_id
left join {{ ref('int_discounts__prorations') }} as prorations on licences.line_id = prorations.line_id
left join {{ ref('int_discounts__entitlements') }} as entitlements
    on licences.item_period_id = entitlements.item_period_id
left join voided on licences.item_period_id = voided.item_period_id
union all
select
    terms.charge_id,
    'usage' as charge_kind,
    null as line_id,
    null as change_kind,
    terms.item_period_id,
    terms.scope_id,
    terms.stripe_event_name,
    terms.authority,
    terms.contract_id,
    terms.price_book_id,
    terms.price_id,
    terms.stripe_rate_id,
    terms.expected_rate_id,
    terms.interval_months,
    terms.is_metered_at_stripe as is_billed_by_stripe,
    greatest(quantities.metered_quantity, 0) as billed_quantity,
    greatest(quantities.true_quantity, 0) as expected_quantity,
    greatest(quantities.true_quantity - quantities.late_gap_quantity, 0) as known_in_time_quantity,
    terms.included_quantity,
    terms.grace_percent,
    1::numeric as expected_multiplier,
    1::numeric as sign_and_discount,
    voided.item_period_id is not null as is_voided,
    -- Usage in a trial is free; so is a voided pause.
    case
        when voided.item_period_id is not null or prices.trial_ended_at >= prices.period_end then 0 else 1
    end as share_seconds,
    1::numeric as full_seconds,
    false as is_floored
from {{ ref('int_terms__metered_terms') }} as terms
inner join {{ ref('int_usage__metered_quantities') }} as quantities on terms.charge_id = quantities.charge_id
inner join {{ ref('int_terms__item_period_prices') }} as prices on terms.item_period_id = prices.item_period_id
left join voided on terms.item_period_id = voided.item_period_id
