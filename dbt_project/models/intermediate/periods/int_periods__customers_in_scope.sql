-- The rollout of leakage.yaml: all customers, or the part that is audited first. Newest-created customers
-- are cut off last, by id, so that the same limit names the same customers every night.
with eligible as (
    select
        customers.customer_id,
        row_number() over (order by customers.created_at, customers.customer_id) as position_by_age,
        settings.rollout_max_customers
    from {{ ref('stg_stripe__customers') }} as customers
    cross join {{ ref('stg_business__audit_settings') }} as settings
    where
        (
            coalesce(jsonb_array_length(settings.rollout_customers), 0) = 0
            or settings.rollout_customers ? customers.customer_id
        )
        and (settings.rollout_created_after is null or customers.created_at >= settings.rollout_created_after)
)

select customer_id
from eligible
where rollout_max_customers is null or position_by_age <= rollout_max_customers
