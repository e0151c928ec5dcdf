-- Expected against billed per customer, subscription and billing period, and the bridge between them to the cent.
-- A period that cannot be rated keeps what was billed; its expected amount and all steps are null (7.22).
with rated as (
    select
        customer_id,
        subscription_id,
        period_start,
        period_end,
        phase,
        currency,
        currency_exponent,
        plan_key,
        billed_net,
        case when not cannot_rate then expected_net end as expected_net,
        case when not cannot_rate then usage_gap end as usage_gap,
        case when not cannot_rate then price_gap end as price_gap,
        case when not cannot_rate then quantity_gap end as quantity_gap,
        case when not cannot_rate then discount_gap end as discount_gap,
        case when not cannot_rate then minimum_gap end as minimum_gap,
        case when not cannot_rate then rating_gap end as rating_gap,
        case when not cannot_rate then missing_invoice end as missing_invoice,
        case when not cannot_rate then rounding end as rounding,
        case when not cannot_rate then credited end as credited
    from {{ ref('int_bridge__subscription_periods') }}
),

converted as (
    select
        customer_id,
        subscription_id,
        period_start,
        period_end,
        phase,
        currency,
        plan_key as plan,
        {{ to_currency_units('expected_net', 'currency_exponent') }} as expected_net,
        {{ to_currency_units('billed_net', 'currency_exponent') }} as billed_net,
        {{ to_currency_units('usage_gap', 'currency_exponent') }} as usage_gap,
        {{ to_currency_units('price_gap', 'currency_exponent') }} as price_gap,
        {{ to_currency_units('quantity_gap', 'currency_exponent') }} as quantity_gap,
        {{ to_currency_units('discount_gap', 'currency_exponent') }} as discount_gap,
        {{ to_currency_units('minimum_gap', 'currency_exponent') }} as minimum_gap,
        {{ to_currency_units('rating_gap', 'currency_exponent') }} as rating_gap,
        {{ to_currency_units('missing_invoice', 'currency_exponent') }} as missing_invoice,
        {{ to_currency_units('rounding', 'currency_exponent') }} as rounding,
        {{ to_currency_units('credited', 'currency_exponent') }} as credited
    from rated
)

select
    customer_id,
    subscription_id,
    period_start,
    period_end,
    phase,
    currency,
    plan,
    expected_net as expected_amount,
    billed_net as billed_amount,
    expected_net - billed_net as difference,
    usage_gap as usage_gap_amount,
    price_gap as price_gap_amount,
    quantity_gap as quantity_gap_amount,
    discount_gap as discount_gap_amount,
    minimum_gap as minimum_gap_amount,
    rating_gap as rating_gap_amount,
    missing_invoice as missing_invoice_amount,
    rounding as rounding_amount,
    credited as credited_amount,
    (expected_net - billed_net) - (
        usage_gap + price_gap + quantity_gap + discount_gap + minimum_gap + rating_gap + missing_invoice
        + rounding + credited
    ) as unexplained_amount
from converted
