-- The subscription was cancelled at once and no final invoice took up the usage since the period's start.
{{ bridge_finding(
    leakage_type='final_usage_lost',
    direction='leak',
    amount='usage_gap_step',
    condition="is_final_usage_lost and usage_gap_step > 0",
    cause='meter',
    months='null',
    description=quantity_text('expected_quantity') ~ " || ' ' || meter || ' used in ' || "
        ~ period_text('period_start', 'period_end') ~ " || ' before the cancellation were never invoiced: ' || "
        ~ money_text('usage_gap_step', 'currency_exponent', 'currency') ~ " || '.'"
) }}
