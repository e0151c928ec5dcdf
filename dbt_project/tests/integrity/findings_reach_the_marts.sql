{{ config(severity='error', meta={'dagster': {'ref': {'name': 'fct_leakage_detections'}}}) }}
-- No finding is lost on its way: each one found is judged, and each one judged is published, covered by an approved
-- exception, blocked by the data's own faults, or smaller than the least amount that is published.
with counts as (
    select
        (
            select count(*) filter (where leakage_amount > 0 or leakage_amount is null)
            from {{ ref('int_findings__collected') }}
        ) as found,
        (
            select count(*) from {{ ref('int_findings__judged') }}
            where {{ priced_tonight('customer_id') }}
        ) as judged_tonight,
        (select count(*) from {{ ref('int_findings__judged') }}) as judged,
        (select count(*) from {{ ref('fct_leakage_detections') }}) as published,
        (select count(*) from {{ ref('fct_approved_exceptions') }}) as excepted,
        (select count(*) from {{ ref('fct_blocked_findings') }}) as blocked,
        (
            select count(*)
            from {{ ref('int_findings__judged') }} as judged
            cross join {{ ref('stg_business__audit_settings') }} as settings
            left join {{ ref('fct_blocked_findings') }} as blocked on judged.detection_id = blocked.detection_id
            where
                judged.exception_id is null
                and blocked.detection_id is null
                and judged.comparable_amount < settings.min_amount
        ) as small
)

select *
from counts
where found != judged_tonight or judged != published + excepted + blocked + small
