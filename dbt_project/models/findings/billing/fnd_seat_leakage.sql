-- More seats in use than billed, at the price that should hold.
{{ bridge_finding(
    leakage_type='seat_leakage',
    direction='leak',
    amount='quantity_gap_step',
    condition="meter is null and quantity_gap_step > 0",
    cause="'seats'",
    description=quantity_text('expected_quantity') ~ " || ' seats in use, ' || " ~ quantity_text('billed_quantity')
        ~ " || ' billed in ' || " ~ period_text('period_start', 'period_end') ~ " || ': ' || "
        ~ money_text('quantity_gap_step', 'currency_exponent', 'currency') ~ " || ' not billed.'"
) }}
