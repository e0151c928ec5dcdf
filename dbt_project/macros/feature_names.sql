{# A JSON array of feature names in the form in which they are compared: lower case, trimmed, each once. #}
{% macro feature_names(features) -%}
    (
        select coalesce(jsonb_agg(distinct lower(trim(feature.name))), '[]')
        from jsonb_array_elements_text({{ features }}) as feature (name)
        where {{ features }} is not null
    )
{%- endmacro %}
