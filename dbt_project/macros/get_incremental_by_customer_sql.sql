{#
    Takes up tonight's customers: their rows replace all that the table holds of them, even when none are left. Rows of
    no customer are made anew every night.
#}
{% macro get_incremental_by_customer_sql(arg_dict) %}
    {%- set columns = get_quoted_csv(arg_dict['dest_columns'] | map(attribute='name')) -%}
    delete from {{ arg_dict['target_relation'] }}
    where customer_id is null or customer_id in (select customer_id from night.customers);

    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }}
    from {{ arg_dict['temp_relation'] }}
    where customer_id is null or customer_id in (select customer_id from night.customers)
{% endmacro %}
