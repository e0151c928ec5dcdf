-- Every way to turn a quantity into money, from all three authorities in one shape: divide and round the quantity,
-- then tiers. A flat unit price is one open tier; a package is a divisor with one open tier.
select
    'price:' || prices.price_id || ':' || options.currency as rate_id,
    'stripe' as rate_source,
    prices.transform_divide_by::numeric as divide_by,
    prices.transform_round as round_mode,
    coalesce(prices.tiers_mode, 'graduated') as tiers_mode
from {{ ref('stg_stripe__prices') }} as prices
inner join {{ ref('stg_stripe__price_currency_options') }} as options on prices.price_id = options.price_id
union all
select
    term_kind || ':' || term_id || ':' || meter as rate_id,
    term_kind as rate_source,
    divide_by,
    round_mode,
    case rate_kind when 'volume' then 'volume' else 'graduated' end as tiers_mode
from {{ ref('stg_business__term_meters') }}
where has_rate
union all
select
    'contract:' || contract_id || ':base' as rate_id,
    'contract' as rate_source,
    null as divide_by,
    null as round_mode,
    'graduated' as tiers_mode
from {{ ref('stg_business__contracts') }}
where base_price is not null
union all
select
    'price_book:' || price_book_id || ':base' as rate_id,
    'price_book' as rate_source,
    null as divide_by,
    null as round_mode,
    'graduated' as tiers_mode
from {{ ref('stg_business__price_book') }}
where base_price is not null
