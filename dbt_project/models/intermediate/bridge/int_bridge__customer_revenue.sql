-- What each customer was billed in closed periods, by currency, and what the audit knows beside: what the coverage of
-- every finding type is counted from.
with billed as (
    -- What cannot be rated counts as revenue that was not examined (7.22).
    select
        customer_id,
        currency,
        sum({{ to_currency_units('line_gross', 'currency_exponent') }}) as revenue,
        coalesce(
            sum({{ to_currency_units('line_gross', 'currency_exponent') }}) filter (where not cannot_rate), 0
        ) as rated_revenue,
        bool_or(charge_kind = 'usage') as has_usage
    from {{ ref('int_bridge__charges') }}
    where phase = 'closed'
    group by customer_id, currency
),

with_account as (
    select distinct customer_id from {{ ref('int_accounts__states') }}
),

with_unjudged_minimum as (
    select distinct customer_id from {{ ref('int_bridge__commitments') }}
    where is_coverage_gap
)

select
    billed.customer_id,
    billed.currency,
    billed.revenue,
    billed.rated_revenue,
    billed.has_usage,
    with_account.customer_id is not null as has_account,
    with_unjudged_minimum.customer_id is not null as has_unjudged_minimum
from billed
left join with_account on billed.customer_id = with_account.customer_id
left join with_unjudged_minimum on billed.customer_id = with_unjudged_minimum.customer_id
