-- Plans that the price book does not know: of live licences, unless a contract prices them, and of accounts with
-- access. What the product gives or bills under such a name cannot be compared.
with listed as (
    select distinct plan_key from {{ ref('int_terms__list_prices') }}
),

named as (
    select distinct
        'subscription' as kind,
        items.subscription_id as subject_id,
        items.customer_id,
        plans.plan_key
    from {{ ref('int_periods__items') }} as items
    inner join {{ ref('int_terms__price_plans') }} as plans on items.price_id = plans.price_id
    inner join {{ ref('int_accounts__billing_states') }} as states on items.subscription_id = states.subscription_id
    left join {{ ref('int_accounts__contract_prices') }} as contracts on items.customer_id = contracts.customer_id
    where
        items.usage_type = 'licensed'
        and not items.is_removed
        and states.is_live
        and contracts.contract_id is null
    union all
    select
        'account' as kind,
        account_id as subject_id,
        customer_id,
        plan_key
    from {{ ref('int_accounts__states') }}
    where is_newest and replaced_at is null and has_access
),

book as (
    select count(*) as plan_count from listed
)

select
    named.kind,
    named.subject_id,
    named.customer_id,
    named.plan_key
from named
cross join book
left join listed on named.plan_key = listed.plan_key
-- Without any price book there is nothing to know.
where listed.plan_key is null and book.plan_count > 0
