-- Billed below the price in force: the Stripe price is lower than contract or price book say, or a licence line was
-- edited below its own price (billing model 7.20).
{{ bridge_finding(
    leakage_type='outdated_pricing',
    direction='leak',
    amount="price_gap_step + case when meter is null and not is_fee_line_absent then greatest(rating_gap_step, 0) else 0 end",
    condition="is_billed_by_stripe and price_gap_step + case when meter is null and not is_fee_line_absent then greatest(rating_gap_step, 0) else 0 end > 0",
    cause='price_id',
    reason="case when price_gap_step > 0 then 'price_below_' || authority else 'line_edited' end",
    description="'Billed ' || " ~ money_text('billed_net', 'currency_exponent', 'currency')
        ~ " || ' instead of ' || " ~ money_text('expected_net', 'currency_exponent', 'currency')
        ~ " || coalesce(' for ' || meter, '') || ' in ' || " ~ period_text('period_start', 'period_end')
        ~ " || ': the ' || replace(authority, '_', ' ') || ' price is higher than the price on the subscription.'"
) }}
