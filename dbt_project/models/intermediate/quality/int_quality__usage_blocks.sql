-- Findings that a silence of the log would produce by itself, and that are therefore not published: less usage than was
-- billed, a minimum that was not reached, a volume threshold that was not met, in a period that holds a severe outage
-- of a meter concerned. One row per finding.
with concerned as (
    select
        judged.detection_id,
        coalesce(mappings.stripe_event_name, judged.meter) as stripe_event_name,
        judged.period_start,
        judged.period_end
    from {{ ref('int_findings__judged') }} as judged
    left join {{ ref('stg_business__meter_mappings') }} as mappings on judged.meter = mappings.meter
    where judged.leakage_type = 'overbilled_usage'
    union all
    select
        judged.detection_id,
        terms.stripe_event_name,
        judged.period_start,
        judged.period_end
    from {{ ref('int_findings__judged') }} as judged
    inner join {{ ref('int_terms__metered_terms') }} as terms
        on judged.subscription_id = terms.subscription_id and judged.period_start = terms.period_start
    where
        judged.leakage_type = 'minimum_shortfall'
        or (judged.leakage_type = 'incorrect_discount' and judged.reason = 'volume_threshold_not_met')
)

select
    concerned.detection_id,
    case when bool_or(outages.is_stale) then 'usage_source_stale' else 'usage_log_outage' end as blocked_by,
    'The usage log has no event of ' || string_agg(distinct outages.meter, ', ') || ' from '
    || to_char(min(outages.silent_from) at time zone 'utc', 'YYYY-MM-DD') || ' to '
    || to_char(max(outages.silent_until) at time zone 'utc' - interval '1 day', 'YYYY-MM-DD')
    || ': too little usage is no proof.' as explanation
from concerned
inner join {{ ref('int_quality__usage_outages') }} as outages
    on
        concerned.stripe_event_name = outages.stripe_event_name
        and outages.is_severe
        and concerned.period_start < outages.silent_until
        and concerned.period_end > outages.silent_from
group by concerned.detection_id
