-- More billed for usage than the log holds; under volume tiers missing usage can have the same effect. Same tolerance
-- as the other way round. A log that begins inside the period may hold less than was used.
{{ bridge_finding(
    leakage_type='overbilled_usage',
    direction='overbilling',
    amount='-usage_gap_step - credited_for_usage',
    condition="usage_gap_step < 0 and -usage_gap_step > credited_for_usage and is_usage_gap_published",
    cause='cause_source',
    numbers={'already_credited': 'nullif(credited_for_usage, 0)'},
    doubts=[
        ('summary_unknown', 'not is_summary_known'),
        ('late_usage_arriving', 'late_quantity > 0'),
        ('log_begins_inside', 'does_log_begin_inside'),
    ],
    description=quantity_text('expected_quantity') ~ " || ' ' || meter || ' used, ' || "
        ~ quantity_text('billed_quantity') ~ " || ' metered in ' || " ~ period_text('period_start', 'period_end')
        ~ " || ': ' || " ~ money_text('-usage_gap_step - credited_for_usage', 'currency_exponent', 'currency')
        ~ " || ' billed too much.'"
) }}
