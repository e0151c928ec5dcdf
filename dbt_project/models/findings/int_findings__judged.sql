-- Every finding with its id, amount in the reporting currency, confidence and approved exception. All are still here.
with keyed as (
    select
        *,
        -- A monthly and a yearly licence of one subscription may start together; the shorter keeps the plain id.
        row_number() over (
            partition by
                customer_id, subscription_id, leakage_type, meter, period_start,
                case when customer_id is null or leakage_type = 'webhook_delivery_failure' then cause end
            order by period_end
        ) as starting_together
    from {{ ref('int_findings__collected') }}
    -- Usage that nobody prices has no amount and is shown all the same.
    where leakage_amount > 0 or leakage_amount is null
),

typed as (
    select
        collected.*,
        types.amount_basis,
        types.base_confidence,
        types.recurring,
        types.recovery_share,
        collected.doubts || coalesce(further.doubts, array[]::text[]) as all_doubts,
        md5(concat_ws(
            '|', collected.customer_id, coalesce(collected.subscription_id, ''), collected.leakage_type,
            coalesce(collected.meter, ''), extract(epoch from collected.period_start)::bigint,
            case when collected.starting_together > 1 then extract(epoch from collected.period_end)::bigint end,
            -- Of nobody we know, the id that the log has; of lost events, where they were to go.
            case
                when collected.customer_id is null or collected.leakage_type = 'webhook_delivery_failure'
                    then collected.cause
            end
        )) as detection_id
    from keyed as collected
    inner join {{ ref('finding_types') }} as types on collected.leakage_type = types.leakage_type
    left join {{ ref('int_findings__doubts') }} as further
        on
            (collected.customer_id, collected.leakage_type, collected.direction, coalesce(collected.meter, ''))
            = (further.customer_id, further.leakage_type, further.direction, further.meter_key)
            and (collected.period_start, collected.period_end) = (further.period_start, further.period_end)
),

converted as (
    select
        typed.detection_id,
        case when typed.currency = settings.reporting_currency then 1 else rates.rate end as rate,
        typed.currency = settings.reporting_currency or coalesce(rates.is_recent, false) as is_recent
    from typed
    cross join {{ ref('stg_business__audit_settings') }} as settings
    left join {{ ref('int_findings__exchange_rates') }} as rates
        on
            typed.currency = rates.currency
            and (least(typed.period_end, settings.as_of) at time zone 'utc')::date = rates.valued_on
),

excepted as (
    select distinct on (typed.detection_id)
        typed.detection_id,
        exceptions.exception_id,
        exceptions.reason as exception_reason,
        exceptions.approved_by
    from typed
    inner join {{ ref('stg_business__exceptions') }} as exceptions
        on
            typed.customer_id = exceptions.customer_id
            and typed.leakage_type = exceptions.leakage_type
            and typed.period_start >= exceptions.valid_from
            and (exceptions.valid_until is null or typed.period_start < exceptions.valid_until)
    where typed.direction in ('leak', 'overbilling')
    order by typed.detection_id, exceptions.exception_id
)

select
    typed.detection_id,
    typed.customer_id,
    typed.subscription_id,
    typed.leakage_type,
    typed.direction,
    typed.meter,
    typed.reason,
    typed.cause,
    typed.phase,
    typed.period_start,
    typed.period_end,
    typed.currency,
    typed.leakage_amount,
    case
        when typed.recurring and typed.months is not null and typed.leakage_amount is not null
            then round(typed.leakage_amount / typed.months, coalesce(currencies.exponent, 2))
        else 0
    end as monthly_leakage_amount,
    case when converted.is_recent then round(typed.leakage_amount * converted.rate, coalesce(reporting.exponent, 2)) end
        as reporting_amount,
    -- For thresholds and order alone; null where no rate was ever given.
    round(typed.leakage_amount * converted.rate, coalesce(reporting.exponent, 2)) as comparable_amount,
    typed.amount_basis,
    typed.recovery_share,
    greatest(0.05, least(0.99, typed.base_confidence - coalesce((
        select sum(penalties.penalty) from {{ ref('confidence_penalties') }} as penalties
        where penalties.doubt = any(typed.all_doubts)
    ), 0)))::numeric as confidence,
    typed.all_doubts as doubts,
    typed.description,
    typed.evidence || jsonb_strip_nulls(jsonb_build_object(
        'doubts', to_jsonb(typed.all_doubts), 'exchange_rate',
        case when converted.rate is null then 'none' when not converted.is_recent then 'older than 7 days' end
    )) as evidence,
    excepted.exception_id,
    excepted.exception_reason,
    excepted.approved_by
from typed
cross join {{ ref('stg_business__audit_settings') }} as settings
left join {{ ref('currencies') }} as currencies on typed.currency = currencies.currency
left join {{ ref('currencies') }} as reporting on settings.reporting_currency = reporting.currency
inner join converted on typed.detection_id = converted.detection_id
left join excepted on typed.detection_id = excepted.detection_id
