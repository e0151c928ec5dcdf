-- The invoice lines of a period come to more than Stripe's own price and the metered quantity give: a line repeated,
-- or a line edited above its price. What credit notes gave back on these lines is owed no more.
{{ bridge_finding(
    leakage_type='double_charge',
    direction='overbilling',
    amount='-rating_gap_step - credited',
    condition="rating_gap_step < 0 and -rating_gap_step > credited",
    months='null',
    numbers={'already_credited': 'nullif(credited, 0)'},
    reason="case when line_gross >= 2 * stripe_gross and stripe_gross > 0 then 'line_repeated' else 'line_above_price' end",
    description="'Invoice lines for ' || coalesce(meter, 'the licence') || ' in ' || "
        ~ period_text('period_start', 'period_end') ~ " || ' come to ' || "
        ~ money_text('-rating_gap_step', 'currency_exponent', 'currency') ~ " || ' more than the price gives'"
        ~ " || case when credited > 0 then '; ' || "
        ~ money_text('credited', 'currency_exponent', 'currency') ~ " || ' were credited.' else '.' end"
) }}
