{# Months in a billing interval; null for weeks and days, which have no fixed share of a month. #}
{% macro interval_months(interval_column, count_column) -%}
    case {{ interval_column }} when 'month' then 1 when 'year' then 12 end * {{ count_column }}
{%- endmacro %}
