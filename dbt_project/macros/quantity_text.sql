{# A quantity without trailing zeros. #}
{% macro quantity_text(quantity) -%}
    trim_scale({{ quantity }})::text
{%- endmacro %}
