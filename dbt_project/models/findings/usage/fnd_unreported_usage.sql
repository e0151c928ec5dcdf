-- Usage in the log that never reached the meter, though it was known in time (the late part is late_usage). Gaps within
-- the tolerance are not published, except where the meter bills nothing at all; in an open period a gap no larger than
-- the last day's usage waits a night.
{{ bridge_finding(
    leakage_type='unreported_usage',
    direction='leak',
    amount='usage_gap_step - late_usage_step',
    condition="usage_gap_step > late_usage_step and not is_final_usage_lost and is_usage_gap_published",
    cause='cause_source',
    reason="case when billed_quantity = 0 then 'nothing_metered' end",
    doubts=[('summary_unknown', 'not is_summary_known'), ('late_usage_arriving', 'late_quantity > 0')],
    description=quantity_text('expected_quantity') ~ " || ' ' || meter || ' used, ' || "
        ~ quantity_text('billed_quantity') ~ " || ' metered in ' || " ~ period_text('period_start', 'period_end')
        ~ " || ': ' || " ~ money_text('usage_gap_step - late_usage_step', 'currency_exponent', 'currency')
        ~ " || ' not billed' || case when late_usage_step > 0 then ', besides ' || "
        ~ money_text('late_usage_step', 'currency_exponent', 'currency') ~ " || ' of late usage.' else '.' end"
) }}
