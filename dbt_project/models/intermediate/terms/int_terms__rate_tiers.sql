-- Tiers of every rate in minor units. up_to is inclusive and null on the open last tier; from_quantity is the tier
-- below's up_to. A price whose shape is unknown (no unit amount, no tiers) has no row here: it cannot be rated.
with contract_currencies as (
    -- A contract without a currency is in the one its customer is billed in.
    select
        contracts.contract_id,
        coalesce(contracts.currency, min(items.currency)) as currency
    from {{ ref('stg_business__contracts') }} as contracts
    left join {{ ref('int_periods__items') }} as items on contracts.customer_id = items.customer_id
    group by contracts.contract_id, contracts.currency
),

tiers as (
    select
        'price:' || options.price_id || ':' || options.currency as rate_id,
        0 as tier_index,
        null::numeric as up_to,
        options.unit_amount_decimal as unit_amount,
        0::numeric as flat_amount
    from {{ ref('stg_stripe__price_currency_options') }} as options
    inner join {{ ref('stg_stripe__prices') }} as prices on options.price_id = prices.price_id
    where prices.billing_scheme = 'per_unit' and options.unit_amount_decimal is not null
    union all
    select
        'price:' || price_id || ':' || currency as rate_id,
        tier_index,
        up_to,
        coalesce(unit_amount_decimal, 0) as unit_amount,
        coalesce(flat_amount_decimal, 0) as flat_amount
    from {{ ref('stg_stripe__price_tiers') }}
    union all
    select
        term_tiers.term_kind || ':' || term_tiers.term_id || ':' || term_tiers.meter as rate_id,
        term_tiers.tier_index,
        term_tiers.up_to,
        coalesce(term_tiers.unit_amount, 0) * power(10::numeric, coalesce(currencies.exponent, 2)) as unit_amount,
        coalesce(term_tiers.flat_amount, 0) * power(10::numeric, coalesce(currencies.exponent, 2)) as flat_amount
    from {{ ref('stg_business__term_tiers') }} as term_tiers
    left join contract_currencies as contracts
        on term_tiers.term_kind = 'contract' and term_tiers.term_id = contracts.contract_id
    left join {{ ref('stg_business__price_book') }} as price_book
        on term_tiers.term_kind = 'price_book' and term_tiers.term_id = price_book.price_book_id
    left join {{ ref('currencies') }} as currencies
        on coalesce(contracts.currency, price_book.currency) = currencies.currency
    union all
    select
        'contract:' || contracts.contract_id || ':base' as rate_id,
        0 as tier_index,
        null as up_to,
        contracts.base_price * power(10::numeric, coalesce(currencies.exponent, 2)) as unit_amount,
        0 as flat_amount
    from {{ ref('stg_business__contracts') }} as contracts
    left join contract_currencies on contracts.contract_id = contract_currencies.contract_id
    left join {{ ref('currencies') }} as currencies on contract_currencies.currency = currencies.currency
    where contracts.base_price is not null
    union all
    select
        'price_book:' || price_book.price_book_id || ':base' as rate_id,
        0 as tier_index,
        null as up_to,
        price_book.base_price * power(10::numeric, coalesce(currencies.exponent, 2)) as unit_amount,
        0 as flat_amount
    from {{ ref('stg_business__price_book') }} as price_book
    left join {{ ref('currencies') }} as currencies on price_book.currency = currencies.currency
    where price_book.base_price is not null
)

select
    rate_id,
    tier_index,
    coalesce(lag(up_to) over (partition by rate_id order by tier_index), 0) as from_quantity,
    up_to,
    unit_amount,
    flat_amount
from tiers
