{{ config(severity='warn', meta={'dagster': {'ref': {'name': 'stg_business__exceptions'}}}) }}
-- An approved exception covers one type of leak or overbilling, by its name. One with another name, perhaps misspelled,
-- covers nothing, and whoever approved it should know.
select
    exceptions.exception_id,
    exceptions.customer_id,
    exceptions.leakage_type
from {{ of_all_customers(ref('stg_business__exceptions'), 'raw_business', 'exceptions') }} as exceptions
left join {{ ref('finding_types') }} as types
    on exceptions.leakage_type = types.leakage_type and types.direction in ('leak', 'overbilling')
where types.leakage_type is null
