-- The price book with the span in which each row rules: the newest row effective at a period's start
-- (docs/configuration.md).
select
    price_book_id,
    plan_key,
    plan_name,
    currency,
    billing_interval,
    {{ interval_months('billing_interval', '1') }} as interval_months,
    base_price,
    seats_included,
    features,
    effective_from,
    lead(effective_from) over (
        partition by plan_key, currency, billing_interval order by effective_from
    ) as effective_until
from {{ ref('stg_business__price_book') }}
