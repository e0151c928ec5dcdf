{{ config(severity='error', meta={'dagster': {'ref': {'name': 'fct_expected_vs_billed'}}}) }}
-- Totals in = totals out, per currency: what the mart says was billed in closed periods is the attributed invoice
-- lines net of their discounts and our own corrections, less credit notes. A line that is lost or counted twice on the way shows here.
with lines as (
    select
        periods.currency,
        sum({{ to_currency_units('lines.gross_amount - lines.discount_amount', 'periods.currency_exponent') }})
            as amount
    from {{ ref('int_billed__lines') }} as lines
    inner join {{ ref('int_periods__item_periods') }} as periods on lines.item_period_id = periods.item_period_id
    where periods.phase = 'closed'
    group by periods.currency
),

credits as (
    select
        periods.currency,
        sum({{ to_currency_units('credits.credit_amount', 'periods.currency_exponent') }}) as amount
    from {{ ref('int_billed__credits') }} as credits
    inner join {{ ref('int_periods__item_periods') }} as periods on credits.item_period_id = periods.item_period_id
    where periods.phase = 'closed'
    group by periods.currency
),

corrections as (
    select
        charges.currency,
        sum({{ to_currency_units('corrections.net_amount', 'charges.currency_exponent') }}) as amount
    from {{ ref('int_billed__corrections') }} as corrections
    inner join {{ ref('int_bridge__steps') }} as charges on corrections.charge_id = charges.charge_id
    where charges.phase = 'closed'
    group by charges.currency
),

mart as (
    select
        currency,
        sum(billed_amount) as amount
    from {{ ref('fct_expected_vs_billed') }}
    where phase = 'closed' and {{ priced_tonight('customer_id') }}
    group by currency
)

select
    coalesce(lines.currency, mart.currency) as currency,
    lines.amount as line_amount,
    credits.amount as credited_amount,
    corrections.amount as corrected_amount,
    mart.amount as mart_amount
from lines
full outer join mart on lines.currency = mart.currency
left join credits on lines.currency = credits.currency
left join corrections on lines.currency = corrections.currency
where coalesce(lines.amount, 0) + coalesce(corrections.amount, 0) - coalesce(credits.amount, 0) != coalesce(mart.amount, 0)
