-- Usage that reached the log only when the invoice of its period was final: nobody could have metered it in time. The
-- late part and the rest of the gap (unreported_usage) together are the usage gap; both are differences of the whole
-- quantity's price.
{{ bridge_finding(
    leakage_type='late_usage',
    direction='leak',
    amount='late_usage_step',
    condition="late_usage_step > 0 and is_usage_gap_published",
    cause='meter',
    months='null',
    doubts=[('summary_unknown', 'not is_summary_known')],
    description=quantity_text('late_gap_quantity') ~ " || ' ' || meter || ' of ' || "
        ~ period_text('period_start', 'period_end') ~ " || ' reached the log after the invoice was final: ' || "
        ~ money_text('late_usage_step', 'currency_exponent', 'currency') ~ " || ' not billed.'"
) }}
