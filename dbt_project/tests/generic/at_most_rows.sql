{# The model has no more than `row_count` rows. #}
{% test at_most_rows(model, row_count) %}
select count(*) as row_count
from {{ model }}
having count(*) > {{ row_count }}
{% endtest %}
