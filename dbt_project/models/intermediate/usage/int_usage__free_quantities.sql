-- Units that a rate gives away before it begins to charge: leading tiers at nothing, which is Stripe's way to include a
-- quantity. One row per rate with such tiers.
with tiers as (
    select
        rate_id,
        up_to,
        bool_and(unit_amount = 0 and flat_amount = 0 and up_to is not null)
            over (partition by rate_id order by tier_index) as is_free
    from {{ ref('int_terms__rate_tiers') }}
)

select
    rate_id,
    max(up_to) as free_quantity
from tiers
where is_free
group by rate_id
