{#
    Every row satisfies `expression`, an SQL condition on the model's own columns. A row for which the condition is
    unknown (null) fails too: say what null means in the expression.
#}
{% test expression_is_true(model, expression) %}
select *
from {{ model }}
where not coalesce({{ expression }}, false)
{% endtest %}
