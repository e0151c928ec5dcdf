{#
    Statistics for the planner of the models that read this one. A table that was just made has none until autovacuum
    comes by, and a planner that takes 800,000 rows for a handful nests its loops.
#}
{% macro collect_statistics() -%}
    {%- if model.config.materialized in ('table', 'incremental') -%} analyze {{ this }} {%- endif -%}
{%- endmacro %}
