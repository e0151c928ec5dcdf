{# A period as people read it: its first and last instant to the second, in UTC. #}
{% macro period_text(period_start, period_end) -%}
    to_char({{ period_start }} at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS') || ' to '
    || to_char({{ period_end }} at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS') || ' UTC'
{%- endmacro %}
