{{ config(severity='error', meta={'dagster': {'ref': {'name': 'fct_expected_vs_billed'}}}) }}
-- difference = sum of the steps, to the cent, on every row (billing model section 4).
select *
from {{ ref('fct_expected_vs_billed') }}
where
    expected_amount is not null
    and (
        unexplained_amount != 0
        or difference != usage_gap_amount + price_gap_amount + quantity_gap_amount + discount_gap_amount
        + minimum_gap_amount + rating_gap_amount + missing_invoice_amount + rounding_amount + credited_amount
        + unexplained_amount
    )
