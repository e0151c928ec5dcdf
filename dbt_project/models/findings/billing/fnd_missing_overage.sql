-- Usage above the included quantity that no invoice line charges: the subscription has no price for the meter at all,
-- or the line is absent or lower than Stripe's own price and metered quantity give.
{{ bridge_finding(
    leakage_type='missing_overage',
    direction='leak',
    amount="case when is_billed_by_stripe then rating_gap_step else price_gap_step end",
    condition="meter is not null and case when is_billed_by_stripe then rating_gap_step else price_gap_step end > 0",
    cause='meter',
    reason="case when not is_billed_by_stripe then 'no_overage_price_on_subscription' when line_count = 0 then 'line_absent' else 'line_too_low' end",
    doubts=[('summary_unknown', 'not is_summary_known'), ('flat_fee_at_zero_usage', 'expected_quantity = 0')],
    description=quantity_text('expected_quantity') ~ " || ' ' || meter || ' used in ' || "
        ~ period_text('period_start', 'period_end') ~ " || ' come to ' || "
        ~ money_text('expected_net', 'currency_exponent', 'currency') ~ " || '; billed ' || "
        ~ money_text('billed_net', 'currency_exponent', 'currency') ~ " || '.'"
) }}
