{#
    Whether an account's snapshot speaks about a period: in force at the start of a closed one, and now for the open one
    (billing model 7.6). states has updated_at and replaced_at.
#}
{% macro state_holds(states, phase, period_start, as_of) -%}
    {{ states }}.updated_at <= case when {{ phase }} = 'open' then {{ as_of }} else {{ period_start }} end
    and coalesce({{ states }}.replaced_at, 'infinity')
    > case when {{ phase }} = 'open' then {{ as_of }} else {{ period_start }} end
{%- endmacro %}
