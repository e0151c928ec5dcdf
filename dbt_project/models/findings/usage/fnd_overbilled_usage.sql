-- More billed for usage than the log holds; under volume tiers missing usage can have the same effect. Same tolerance
-- as the other way round.
{{ bridge_finding(
    leakage_type='overbilled_usage',
    direction='overbilling',
    amount='-usage_gap_step',
    condition="usage_gap_step < 0 and is_usage_gap_published",
    cause='cause_source',
    doubts=[('summary_unknown', 'not is_summary_known'), ('late_usage_arriving', 'late_quantity > 0')],
    description=quantity_text('expected_quantity') ~ " || ' ' || meter || ' used, ' || "
        ~ quantity_text('billed_quantity') ~ " || ' metered in ' || " ~ period_text('period_start', 'period_end')
        ~ " || ': ' || " ~ money_text('-usage_gap_step', 'currency_exponent', 'currency') ~ " || ' billed too much.'"
) }}
