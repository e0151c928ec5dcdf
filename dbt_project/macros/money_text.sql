{# Minor units as an amount with its currency: 1250 usd is '12.50 USD'. #}
{% macro money_text(minor_amount, exponent, currency) -%}
    {{ to_currency_units(minor_amount, exponent) }}::text || ' ' || upper({{ currency }})
{%- endmacro %}
