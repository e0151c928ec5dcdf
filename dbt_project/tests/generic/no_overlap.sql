{#
    Half-open spans [start_column, end_column) of one `partition_by` never overlap. An end that is null is open; so a
    span that follows an open one overlaps it.
#}
{% test no_overlap(model, partition_by, start_column, end_column) %}
with ordered as (
    select
        {{ partition_by | join(', ') }},
        {{ start_column }} as span_start,
        coalesce({{ end_column }}, 'infinity') as span_end,
        lead({{ start_column }}) over (
            partition by {{ partition_by | join(', ') }} order by {{ start_column }}
        ) as next_start
    from {{ model }}
)

select *
from ordered
where next_start < span_end
{% endtest %}
