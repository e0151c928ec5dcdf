select
    -- ids
    price_id,
    lower(currency) as currency,
    -- attributes
    unit_amount_decimal
from {{ source('raw_stripe', 'price_currency_options') }}
