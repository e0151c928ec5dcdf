{# How many billing intervals lie between two instants, to within one: an estimate that the caller widens or checks. #}
{% macro billing_intervals_between(from_instant, to_instant, interval_column, count_column) -%}
    round(
        case
            when {{ interval_column }} in ('month', 'year') then (
                (extract(year from {{ to_instant }} at time zone 'utc') * 12 + extract(month from {{ to_instant }} at time zone 'utc'))
                - (extract(year from {{ from_instant }} at time zone 'utc') * 12 + extract(month from {{ from_instant }} at time zone 'utc'))
            ) / (case {{ interval_column }} when 'year' then 12 else 1 end * {{ count_column }})
            else extract(epoch from {{ to_instant }} - {{ from_instant }})
                / (86400 * case {{ interval_column }} when 'week' then 7 else 1 end * {{ count_column }})
        end
    )::int
{%- endmacro %}
