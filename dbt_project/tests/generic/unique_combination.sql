{# `columns` are a key: no combination of their values appears twice, and none of them is null. #}
{% test unique_combination(model, columns) %}
select
    {{ columns | join(', ') }},
    count(*) as row_count
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1 or num_nulls({{ columns | join(', ') }}) > 0
{% endtest %}
