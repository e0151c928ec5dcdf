{#
    Condition: the customer is priced by this build. For tests that compare a table that is kept, with all customers,
    with one that holds tonight's only. What belongs to no customer is made anew every night.
#}
{% macro priced_tonight(customer_id) -%}
    {%- if var('changed_customers_only') -%}
        ({{ customer_id }} is null or {{ customer_id }} in (select night.customer_id from night.customers as night))
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}
