{#
    A relation for models that look at everybody, though tonight prices some: the raw table where dbt's own holds only
    tonight's customers. The model must use columns that are the same in both.
#}
{% macro of_all_customers(model_relation, raw_schema, raw_table) -%}
    {%- if var('changed_customers_only') -%}
        {{ raw_schema }}.{{ raw_table }}
    {%- else -%}
        {{ model_relation }}
    {%- endif -%}
{%- endmacro %}
