{# None of `columns` is ever null: one query for all of them. #}
{% test no_nulls(model, columns) %}
select *
from {{ model }}
where num_nulls({{ columns | join(', ') }}) > 0
{% endtest %}
