{# Minor units to the currency's smallest charge, half away from zero (billing model, section 2). #}
{% macro round_money(amount, rounding_unit) -%}
    round(({{ amount }}) / {{ rounding_unit }}) * {{ rounding_unit }}
{%- endmacro %}
