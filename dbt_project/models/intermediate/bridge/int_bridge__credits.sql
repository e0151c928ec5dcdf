-- What credit notes gave back on a charge's lines, in minor units: our own by the finding that they correct; the
-- others, and those about a double charge, as given back on lines that are too high.
select
    charges.charge_id,
    sum(credits.credit_amount) filter (where credits.corrected_type = 'overbilled_usage') as for_usage,
    sum(credits.credit_amount) filter (where credits.corrected_type = 'overbilled_price') as for_price,
    sum(credits.credit_amount) filter (where credits.corrected_type = 'incorrect_discount') as for_discount,
    sum(credits.credit_amount) filter (
        where coalesce(credits.corrected_type, '')
        not in ('overbilled_usage', 'overbilled_price', 'incorrect_discount')
    ) as for_lines
from {{ ref('int_billed__credits') }} as credits
inner join {{ ref('int_bridge__charges') }} as charges
    on credits.item_period_id = charges.item_period_id and credits.line_id = any(charges.line_ids)
group by charges.charge_id
