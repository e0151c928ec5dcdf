-- The incident of every finding: findings of one type, meter and cause that belong together, and since when. Usage gaps
-- of one source that overlap in time are one incident, whoever they touch; gaps whose source nobody can name only when
-- they began together. For all other types the cause alone decides. One row per finding.
with usage_findings as (
    select
        judged.detection_id,
        judged.leakage_type,
        judged.meter,
        judged.currency,
        causes.run_id,
        causes.cause_source,
        causes.started_at,
        causes.last_period_end,
        causes.is_running
    from {{ ref('int_findings__judged') }} as judged
    inner join {{ ref('int_usage__gap_runs') }} as runs
        on judged.evidence -> 'charges' -> 0 ->> 'charge_id' = runs.charge_id
    inner join {{ ref('int_usage__gap_causes') }} as causes on runs.run_id = causes.run_id
    where judged.leakage_type in ('unreported_usage', 'overbilled_usage')
),

leaks as (
    select distinct
        leakage_type,
        meter,
        currency,
        run_id,
        cause_source,
        started_at,
        last_period_end
    from usage_findings
),

ordered as (
    select
        *,
        max(case when cause_source is null then started_at + interval '1 day' else last_period_end end) over (
            partition by leakage_type, meter, currency, cause_source
            order by started_at, run_id
            rows between unbounded preceding and 1 preceding
        ) as together_until
    from leaks
),

grouped as (
    select
        *,
        count(*) filter (where together_until is null or started_at > together_until) over (
            partition by leakage_type, meter, currency, cause_source order by started_at, run_id
        ) as group_number
    from ordered
),

usage_incidents as (
    select
        leakage_type,
        meter,
        currency,
        run_id,
        cause_source,
        min(started_at) over members as started_at,
        -- The newest incident of a source keeps the plain id; what is older is told apart by its day.
        case
            when
                cause_source is null
                or group_number < max(group_number) over (partition by leakage_type, meter, currency, cause_source)
                then to_char(min(started_at) over members at time zone 'utc', 'YYYY-MM-DD')
        end as told_apart_by
    from grouped
    window members as (partition by leakage_type, meter, currency, cause_source, group_number)
)

select
    judged.detection_id,
    md5(concat_ws(
        '|', judged.leakage_type, judged.direction, coalesce(judged.meter, ''),
        coalesce(usage_findings.cause_source, judged.cause, ''), judged.currency, incidents.told_apart_by
    )) as incident_id,
    coalesce(usage_findings.cause_source, judged.cause) as cause,
    usage_findings.cause_source as source,
    usage_findings.run_id,
    coalesce(incidents.started_at, judged.period_start) as started_at,
    usage_findings.is_running
from {{ ref('int_findings__judged') }} as judged
left join usage_findings on judged.detection_id = usage_findings.detection_id
left join usage_incidents as incidents
    on
        usage_findings.run_id = incidents.run_id
        and usage_findings.leakage_type = incidents.leakage_type
        and usage_findings.meter = incidents.meter
        and usage_findings.currency = incidents.currency
