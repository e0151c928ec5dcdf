select
    -- ids
    rate_date,
    lower(from_currency) as from_currency,
    lower(to_currency) as to_currency,
    -- attributes
    rate
from {{ source('raw_business', 'fx_rates') }}
