{#
    Condition on a snapshot, which holds every subscription that was ever seen: only those of this build's customers.
    What others were says nothing about them.
#}
{% macro priced_subscriptions_only(subscription_id) -%}
    {%- if var('changed_customers_only') -%}
        {{ subscription_id }} in (select priced.subscription_id from {{ ref('stg_stripe__subscriptions') }} as priced)
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}
