select
    -- ids
    price_book_id,
    lower(trim(plan)) as plan_key,
    plan as plan_name,
    -- terms in currency units
    lower(currency) as currency,
    lower("interval") as billing_interval,
    base_price,
    seats_included,
    case when features is not null then {{ feature_names('features') }} end as features,
    -- validity
    effective_from
from {{ source('raw_business', 'price_book') }}
