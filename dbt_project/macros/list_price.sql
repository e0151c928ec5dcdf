{#
    Joins the price book's word on a plan as a lateral subquery: the row of the same interval in force at an instant,
    else the monthly row times the months (billing model 7.2). price is for the whole interval and one unit, in
    currency units; base_price as the row says it.
#}
{% macro list_price(alias, plan, currency, billing_interval, interval_count, interval_months, instant) -%}
    left join lateral (
        select
            list.price_book_id,
            list.plan_name,
            list.features,
            list.seats_included,
            list.effective_from,
            list.billing_interval as list_interval,
            list.base_price,
            factor.intervals,
            list.base_price * factor.intervals as price
        from {{ ref('int_terms__list_prices') }} as list
        cross join lateral (
            select
                case
                    when list.billing_interval = {{ billing_interval }} and {{ interval_count }} = 1 then 1
                    else {{ interval_months }}
                end as intervals
        ) as factor
        where
            list.plan_key = {{ plan }}
            and list.currency = {{ currency }}
            and list.effective_from <= {{ instant }}
            and (list.effective_until is null or list.effective_until > {{ instant }})
            and (
                (list.billing_interval = {{ billing_interval }} and {{ interval_count }} = 1)
                or (list.billing_interval = 'month' and {{ interval_months }} is not null)
            )
        order by list.billing_interval = {{ billing_interval }} desc, list.price_book_id
        limit 1
    ) as {{ alias }} on true
{%- endmacro %}
