-- Billed above the price that contract or price book say.
{{ bridge_finding(
    leakage_type='overbilled_price',
    direction='overbilling',
    amount='-price_gap_step - credited_for_price',
    condition="price_gap_step < 0 and -price_gap_step > credited_for_price",
    cause='price_id',
    numbers={'already_credited': 'nullif(credited_for_price, 0)'},
    description="'Billed ' || " ~ money_text('billed_net', 'currency_exponent', 'currency')
        ~ " || ' instead of ' || " ~ money_text('expected_net', 'currency_exponent', 'currency')
        ~ " || coalesce(' for ' || meter, '') || ' in ' || " ~ period_text('period_start', 'period_end')
        ~ " || ': the price on the subscription is higher than the ' || replace(authority, '_', ' ') || ' price.'"
) }}
