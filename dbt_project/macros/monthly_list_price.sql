{#
    A plan's list price for one month in force at an instant, as a lateral subquery: the monthly row, else a twelfth of
    the yearly one. For what no subscription's interval tells (billing model 7.31).
#}
{% macro monthly_list_price(alias, plan, currency, instant) -%}
    left join lateral (
        select
            list.price_book_id,
            list.plan_name,
            list.seats_included,
            list.effective_from,
            list.base_price / list.interval_months as price
        from {{ ref('int_terms__list_prices') }} as list
        where
            list.plan_key = {{ plan }}
            and list.currency = {{ currency }}
            and list.interval_months is not null
            and list.effective_from <= {{ instant }}
            and (list.effective_until is null or list.effective_until > {{ instant }})
        order by list.interval_months, list.price_book_id
        limit 1
    ) as {{ alias }} on true
{%- endmacro %}
