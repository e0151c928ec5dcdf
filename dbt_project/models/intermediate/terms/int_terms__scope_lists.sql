-- The price book row that rules each subscription and period for what its contract is silent about: the row of the
-- same interval, else the monthly row times the months (billing model 7.2). None for grandfathered contracts.
select
    scopes.scope_id,
    coalesce(same_interval.price_book_id, monthly.price_book_id) as price_book_id,
    coalesce(same_interval.effective_from, monthly.effective_from) as listed_from,
    coalesce(same_interval.interval_months, monthly.interval_months) as list_months
from {{ ref('int_terms__scopes') }} as scopes
inner join {{ ref('int_terms__price_plans') }} as plans on scopes.base_price_id = plans.price_id
left join {{ ref('int_terms__scope_contracts') }} as contracts on scopes.scope_id = contracts.scope_id
left join {{ ref('int_terms__list_prices') }} as same_interval
    on
        coalesce(contracts.plan_key, scopes.plan_key) = same_interval.plan_key
        and scopes.currency = same_interval.currency
        and plans.billing_interval = same_interval.billing_interval
        and scopes.period_start >= same_interval.effective_from
        and (same_interval.effective_until is null or scopes.period_start < same_interval.effective_until)
left join {{ ref('int_terms__list_prices') }} as monthly
    on
        coalesce(contracts.plan_key, scopes.plan_key) = monthly.plan_key
        and scopes.currency = monthly.currency
        and monthly.billing_interval = 'month'
        and scopes.period_start >= monthly.effective_from
        and (monthly.effective_until is null or scopes.period_start < monthly.effective_until)
where
    not coalesce(contracts.is_grandfathered, false)
    and coalesce(same_interval.price_book_id, monthly.price_book_id) is not null
