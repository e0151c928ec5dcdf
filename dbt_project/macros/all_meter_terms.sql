{# int_terms__meter_terms of everybody, as far as list rates need it, though tonight prices some. #}
{% macro all_meter_terms() -%}
    {%- if var('changed_customers_only') -%}
        (
            select
                terms.term_kind,
                terms.term_id,
                coalesce(mappings.stripe_event_name, terms.meter) as stripe_event_name,
                case when terms.has_rate then terms.meter end as rate_id
            from raw_business.term_meters as terms
            left join raw_business.meter_mappings as mappings on terms.meter = mappings.meter
        )
    {%- else -%}
        {{ ref('int_terms__meter_terms') }}
    {%- endif -%}
{%- endmacro %}
