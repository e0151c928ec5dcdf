-- Minimum commitments by span (billing model 7.16): what base, usage and overage net of discounts come to over all
-- subscriptions of the contract, the period that carries the shortfall (the last one that starts in the span), or why
-- the span is not judged; the newest of each contract then counts as a gap in coverage.
with totals as (
    select
        scope_id,
        sum(expected_net) as expected_net,
        bool_or(cannot_rate) as cannot_rate,
        bool_or(is_voided) as is_voided
    from {{ ref('int_bridge__charges') }}
    group by scope_id
),

placed as (
    select
        scopes.*,
        totals.expected_net,
        totals.cannot_rate,
        totals.is_voided,
        subscriptions.started_at,
        subscriptions.ended_at,
        min(scopes.period_start) over (
            partition by scopes.contract_id, scopes.currency, scopes.span_start, scopes.subscription_id
        ) as first_start
    from {{ ref('int_bridge__commitment_scopes') }} as scopes
    inner join totals on scopes.scope_id = totals.scope_id
    inner join {{ ref('stg_stripe__subscriptions') }} as subscriptions
        on scopes.subscription_id = subscriptions.subscription_id
),

summed as (
    select
        contract_id,
        customer_id,
        currency,
        currency_exponent,
        span_start,
        max(span_end) as span_end,
        (array_agg(scope_id order by period_end desc, scope_id desc))[1] as scope_id,
        max(minimum_commitment * commitments_in_span) as minimum_commitment,
        sum(expected_net) as expected_net,
        count(distinct subscription_id) as subscription_count,
        bool_and(phase = 'closed') as is_closed,
        bool_or(cannot_rate) as cannot_rate,
        bool_or(is_voided) as is_voided,
        bool_and(has_whole_spans) as has_whole_spans,
        bool_and(has_span_per_period) as has_span_per_period,
        bool_and(is_in_trial) as is_in_trial,
        bool_or(is_partial) as has_partial,
        max(effective_until) as effective_until,
        -- Every subscription is there from the span's start, or from its own.
        bool_and(first_start < span_start + make_interval(months => period_months::int) or first_start <= started_at)
            as is_complete
    from placed
    group by contract_id, customer_id, currency, currency_exponent, span_start
),

absent as (  -- subscriptions that lived through the span, their periods outside the lookback
    select distinct
        summed.contract_id,
        summed.currency,
        summed.span_start
    from summed
    inner join placed
        on
            summed.contract_id = placed.contract_id
            and summed.currency = placed.currency
            and summed.span_start >= placed.started_at
            and summed.span_end <= coalesce(placed.ended_at, 'infinity')
    where not exists (
        select 1 from placed as present
        where
            present.contract_id = summed.contract_id
            and present.currency = summed.currency
            and present.span_start = summed.span_start
            and present.subscription_id = placed.subscription_id
    )
),

judged as (
    select
        summed.*,
        case
            when not summed.is_closed or summed.span_end > settings.as_of then 'running'
            when summed.is_in_trial then 'trial'
            -- Who lets invoices be void for a while does not ask for a minimum of that time (7.8).
            when summed.is_voided then 'paused'
            when not coalesce(summed.has_whole_spans, false) then 'unknown_interval'
            when summed.cannot_rate then 'cannot_rate'
            when summed.has_span_per_period and summed.has_partial then 'partial_period'
            when not summed.has_span_per_period and summed.effective_until < summed.span_end
                then 'contract_ends_inside'
            when
                not summed.has_span_per_period
                and (not coalesce(summed.is_complete, false) or absent.span_start is not null)
                then 'outside_lookback'
        end as not_judged_because
    from summed
    cross join {{ ref('stg_business__audit_settings') }} as settings
    left join absent
        on
            summed.contract_id = absent.contract_id
            and summed.currency = absent.currency
            and summed.span_start = absent.span_start
)

select
    contract_id,
    customer_id,
    currency,
    scope_id,
    span_start,
    span_end,
    minimum_commitment,
    expected_net,
    subscription_count,
    not_judged_because,
    greatest(
        0, round(minimum_commitment * power(10::numeric, currency_exponent)) - expected_net
    ) as shortfall,
    coalesce(not_judged_because not in ('running', 'trial', 'paused', 'partial_period'), false)
    and row_number() over (
        partition by contract_id, currency, coalesce(not_judged_because = 'running', false) order by span_start desc
    ) = 1 as is_coverage_gap
from judged
