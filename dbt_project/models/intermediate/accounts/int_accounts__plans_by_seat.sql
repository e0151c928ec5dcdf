-- Plans of which anyone has, or was ever invoiced for, more than one unit: without word on seats in the price book they
-- count as sold by the seat (billing model 7.2). Of all customers, whomever this build prices.
with sold as (
    select items.price_id
    from {{ of_all_customers(ref('stg_stripe__subscription_items'), 'raw_stripe', 'subscription_items') }} as items
    where items.quantity > 1
    union
    select lines.price_id
    from {{ of_all_customers(ref('stg_stripe__invoice_lines'), 'raw_stripe', 'invoice_lines') }} as lines
    where lines.quantity > 1
)

select distinct plans.plan_key
from sold
inner join {{ ref('int_terms__price_plans') }} as plans on sold.price_id = plans.price_id
where plans.usage_type = 'licensed' and plans.plan_key is not null
