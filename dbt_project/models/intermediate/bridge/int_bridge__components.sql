-- The bridge of a subscription's period by component: its licences together (fee and prorations), and each meter.
-- The findings read from here; evidence carries every number and Stripe id. Unbilled changes are a step of their own.
with meter_names as (
    select
        stripe_event_name,
        min(meter) as meter
    from {{ ref('stg_business__meter_mappings') }}
    group by stripe_event_name
),

described as (
    select
        charges.*,
        credited.for_usage,
        credited.for_price,
        credited.for_discount,
        credited.for_lines,
        case
            when charges.charge_kind = 'usage'
                then coalesce(quantities.meter, terms.term_meter, meter_names.meter, charges.stripe_event_name)
        end as meter,
        quantities.late_quantity,
        quantities.late_gap_quantity,
        quantities.line_quantity,
        quantities.does_log_begin_inside,
        contracts.contracts_in_force,
        quantities.is_summary_known,
        gaps.is_published as is_usage_gap_published,
        causes.cause_source,
        changes.is_exact as is_change_exact,
        exists(
            select 1 from {{ ref('int_quality__usage_outages') }} as outages
            where
                charges.stripe_event_name = outages.stripe_event_name
                and charges.period_start < outages.silent_until
                and charges.period_end > outages.silent_from
        ) as has_log_outage,
        jsonb_strip_nulls(jsonb_build_object(
            'charge_id', charges.charge_id,
            'kind', charges.charge_kind,
            'authority', charges.authority,
            'contract_id', charges.contract_id,
            'price_book_id', charges.price_book_id,
            'stripe_price_id', charges.price_id,
            'expected_quantity', charges.expected_quantity,
            'billed_quantity', charges.billed_quantity,
            'line_quantity', quantities.line_quantity,
            'late_quantity', quantities.late_quantity,
            'late_gap_quantity', nullif(quantities.late_gap_quantity, 0),
            'metered_at_least', quantities.least_metered,
            'metered_at_most', quantities.most_metered,
            'expected_gross', {{ to_currency_units('charges.expected_gross', 'charges.currency_exponent') }},
            'expected_gross_at_billed_quantity',
            {{ to_currency_units('charges.expected_gross_at_billed_quantity', 'charges.currency_exponent') }},
            'stripe_price_gross', {{ to_currency_units('charges.stripe_gross', 'charges.currency_exponent') }},
            'line_gross', {{ to_currency_units('charges.line_gross', 'charges.currency_exponent') }},
            'line_discount', {{ to_currency_units('charges.line_discount', 'charges.currency_exponent') }},
            'line_discount_due',
            {{ to_currency_units('charges.entitled_discount', 'charges.currency_exponent') }},
            'discount_percent_billed', round(charges.discount_percent_billed * 100, 6),
            'discount_percent_entitled', round(charges.discount_percent_entitled * 100, 6),
            'expected_net', {{ to_currency_units('charges.expected_net', 'charges.currency_exponent') }},
            'net_at_billed_discount',
            {{ to_currency_units('charges.net_at_billed_discount', 'charges.currency_exponent') }},
            'net_known_in_time',
            case
                when quantities.late_gap_quantity > 0
                    then {{ to_currency_units('charges.net_known_in_time', 'charges.currency_exponent') }}
            end,
            'net_at_billed_quantity',
            {{ to_currency_units('charges.net_at_billed_quantity', 'charges.currency_exponent') }},
            'net_at_stripe_price',
            {{ to_currency_units('charges.net_at_stripe_price', 'charges.currency_exponent') }},
            'billed_net', {{ to_currency_units('charges.billed_net', 'charges.currency_exponent') }},
            'invoice_line_ids', to_jsonb(charges.line_ids), 'invoice_ids', to_jsonb(charges.invoice_ids),
            'draft_invoice_id', charges.draft_invoice_id, 'change', changes.evidence
        )) as evidence
    from {{ ref('int_bridge__charges') }} as charges
    left join {{ ref('int_terms__metered_terms') }} as terms on charges.charge_id = terms.charge_id
    left join {{ ref('int_usage__metered_quantities') }} as quantities on charges.charge_id = quantities.charge_id
    left join {{ ref('int_terms__unmatched_changes') }} as changes on charges.charge_id = changes.charge_id
    left join {{ ref('int_usage__gaps') }} as gaps on charges.charge_id = gaps.charge_id
    left join {{ ref('int_usage__gap_runs') }} as runs on charges.charge_id = runs.charge_id
    left join {{ ref('int_usage__gap_causes') }} as causes on runs.run_id = causes.run_id
    left join {{ ref('int_terms__scope_contracts') }} as contracts on charges.scope_id = contracts.scope_id
    left join {{ ref('int_bridge__credits') }} as credited on charges.charge_id = credited.charge_id
    left join meter_names on charges.stripe_event_name = meter_names.stripe_event_name
    where not charges.cannot_rate
)

select
    scope_id,
    customer_id,
    subscription_id,
    period_start,
    period_end,
    phase,
    currency,
    currency_exponent,
    meter,
    stripe_event_name,
    bool_and(is_billed_by_stripe) as is_billed_by_stripe,
    max(interval_months) as interval_months,
    min(price_id) as price_id,
    (array_agg(authority order by charge_kind = 'fee' desc, charge_id))[1] as authority,
    (array_agg(contract_id order by charge_kind = 'fee' desc, charge_id))[1] as contract_id,
    (array_agg(price_book_id order by charge_kind = 'fee' desc, charge_id))[1] as price_book_id,
    max(expected_quantity) filter (where charge_kind != 'proration') as expected_quantity,
    max(billed_quantity) filter (where charge_kind != 'proration') as billed_quantity,
    max(late_quantity) as late_quantity,
    max(late_gap_quantity) as late_gap_quantity,
    sum(line_count) as line_count,
    bool_or(charge_kind = 'proration' and line_count > 0) as has_prorations,
    bool_or(is_change_exact is false) as has_inexact_changes,
    bool_or(charge_kind = 'fee' and line_count = 0) as is_fee_line_absent,
    bool_or(is_final_usage_lost) as is_final_usage_lost,
    bool_or(is_projected) as is_projected,
    bool_or(has_draft) as has_draft,
    coalesce(bool_or(is_usage_gap_published), false) as is_usage_gap_published,
    max(cause_source) as cause_source,
    bool_or(has_log_outage) as has_log_outage,
    coalesce(bool_or(does_log_begin_inside), false) as does_log_begin_inside,
    -- The meter need not be asked where Stripe does not meter, or where its line equals the true usage.
    bool_and(
        charge_kind != 'usage' or not is_billed_by_stripe or line_quantity = expected_quantity or is_summary_known
    ) as is_summary_known,
    bool_or(contracts_in_force > 1) as has_overlapping_contracts,
    sum(expected_net) as expected_net,
    sum(billed_net) as billed_net,
    sum(stripe_gross) as stripe_gross,
    sum(expected_gross) as expected_gross,
    sum(line_gross) as line_gross,
    sum(expected_gross - net_at_billed_discount) as given_discount,
    sum(usage_gap_step) as usage_gap_step,
    sum(late_usage_step) as late_usage_step,
    sum(case when change_kind is null then price_gap_step else 0 end) as price_gap_step,
    sum(case when change_kind is null then quantity_gap_step else 0 end) as quantity_gap_step,
    sum(case when change_kind is null then 0 else price_gap_step + quantity_gap_step end) as unbilled_change_step,
    sum(discount_gap_step) as discount_gap_step,
    sum(rating_gap_step) as rating_gap_step,
    sum(missing_invoice_step) as missing_invoice_step,
    coalesce(sum(for_lines), 0) as credited,
    coalesce(sum(for_usage), 0) as credited_for_usage,
    coalesce(sum(for_price), 0) as credited_for_price,
    coalesce(sum(for_discount), 0) as credited_for_discount,
    jsonb_agg(evidence order by charge_id) as evidence
from described
group by
    scope_id, customer_id, subscription_id, period_start, period_end, phase, currency, currency_exponent, meter,
    stripe_event_name
