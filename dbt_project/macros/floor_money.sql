{# Proration lines: floor toward minus infinity, as recorded from Stripe (billing model, section 2). #}
{% macro floor_money(amount, rounding_unit) -%}
    floor(({{ amount }}) / {{ rounding_unit }}) * {{ rounding_unit }}
{%- endmacro %}
