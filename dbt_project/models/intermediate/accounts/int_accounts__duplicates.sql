-- Licences of one customer for the same product and interval on several subscriptions at once, more than the customer
-- has accounts (billing model 7.28): one row per surplus licence and period. Those that name an account stay, then the
-- oldest; one that is leaving, or was not billed, is nobody's second.
with billed as (
    select
        prices.item_period_id,
        prices.subscription_id,
        prices.customer_id,
        prices.product_id,
        prices.price_interval,
        prices.price_interval_count,
        prices.period_start,
        prices.natural_end,
        prices.phase,
        states.account_id as named_account_id,
        states.created_at,
        prices.as_of
    from {{ ref('int_terms__item_period_prices') }} as prices
    inner join {{ ref('int_accounts__billing_states') }} as states on prices.subscription_id = states.subscription_id
    inner join {{ ref('int_billed__periods') }} as lines on prices.item_period_id = lines.item_period_id
    where
        prices.usage_type = 'licensed'
        and lines.gross_amount > lines.discount_amount
        and states.is_started
        and not states.is_leaving
        and states.ended_at is null
),

beside as (
    -- Every licence, and those of the same kind that were billed for the instant at which its period begins.
    select
        billed.item_period_id,
        count(distinct other.subscription_id) as subscription_count,
        count(distinct other.named_account_id) as named_count,
        count(distinct other.subscription_id) filter (
            where
            (other.named_account_id is null, other.created_at, other.subscription_id)
            <= (billed.named_account_id is null, billed.created_at, billed.subscription_id)
        ) as place,
        array_agg(distinct other.subscription_id) as subscription_ids
    from billed
    inner join billed as other
        on
            billed.customer_id = other.customer_id
            and billed.product_id = other.product_id
            and billed.price_interval = other.price_interval
            and billed.price_interval_count = other.price_interval_count
            and billed.period_start >= other.period_start
            and billed.period_start < other.natural_end
    group by billed.item_period_id
    having count(distinct other.subscription_id) > 1
),

accounts as (
    select
        billed.item_period_id,
        count(distinct states.account_id) as known_count,
        count(distinct states.account_id) filter (where states.has_access) as account_count
    from billed
    inner join beside on billed.item_period_id = beside.item_period_id
    inner join {{ ref('int_accounts__states') }} as states
        on
            billed.customer_id = states.customer_id
            and {{ state_holds('states', 'billed.phase', 'billed.period_start', 'billed.as_of') }}
    group by billed.item_period_id
)

select
    billed.item_period_id,
    billed.subscription_id,
    billed.product_id,
    beside.subscription_ids,
    beside.subscription_count,
    beside.named_count,
    coalesce(accounts.account_count, 0) as account_count
from billed
inner join beside on billed.item_period_id = beside.item_period_id
left join accounts on billed.item_period_id = accounts.item_period_id
where
    beside.place > greatest(1, beside.named_count, coalesce(accounts.account_count, 0))
    -- Nothing is said of a past period in which no account of the customer was known (7.6).
    and (accounts.known_count > 0 or billed.phase = 'open')
    and exists (
        select anyone.account_id
        from {{ of_all_customers(ref('int_accounts__states'), 'raw_business', 'accounts') }} as anyone
    )
