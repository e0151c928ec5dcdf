{# Minor units to currency units, exact: 1250 with exponent 2 is 12.50. #}
{% macro to_currency_units(minor_amount, exponent) -%}
    round(({{ minor_amount }}) / power(10::numeric, {{ exponent }}), {{ exponent }})
{%- endmacro %}
