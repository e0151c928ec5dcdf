{# The column is a key: no value appears twice and none is missing. One query, where `unique` and `not_null` are two. #}
{% test is_key(model, column_name) %}
select
    {{ column_name }},
    count(*) as row_count
from {{ model }}
group by {{ column_name }}
having count(*) > 1 or {{ column_name }} is null
{% endtest %}
