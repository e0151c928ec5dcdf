-- Every period under a contract with a minimum commitment, and the span of the commitment that it belongs to. One
-- subscription billed once per contract interval, or more rarely, has a span per period. Else spans are counted from
-- the contract's first day: a yearly minimum over monthly periods, or one minimum over several subscriptions. A period
-- belongs to the span in which it starts.
with lengths as (
    select
        subscription_id,
        period_start,
        period_end,
        max(interval_months) as period_months,
        bool_and(interval_months is not null) as has_known_length,
        bool_or(coalesce(trial_ended_at >= period_end, false)) as is_in_trial,
        bool_or(usage_type = 'licensed' and billable_seconds < full_seconds) as is_partial
    from {{ ref('int_terms__item_period_prices') }}
    group by subscription_id, period_start, period_end
),

committed as (
    select
        scopes.scope_id,
        scopes.subscription_id,
        scopes.customer_id,
        scopes.currency,
        scopes.currency_exponent,
        scopes.period_start,
        scopes.period_end,
        scopes.phase,
        contracts.contract_id,
        contracts.minimum_commitment,
        contracts.contract_months,
        contracts.effective_date::timestamp at time zone 'utc' as effective_from,
        (contracts.end_date + 1)::timestamp at time zone 'utc' as effective_until,
        lengths.period_months,
        lengths.has_known_length,
        lengths.is_in_trial,
        lengths.is_partial,
        dense_rank() over (
            partition by contracts.contract_id, scopes.currency order by scopes.subscription_id
        ) as subscription_number,
        max(lengths.period_months) over (partition by contracts.contract_id, scopes.currency) as longest_months,
        min(lengths.period_months) over (partition by contracts.contract_id, scopes.currency) as shortest_months
    from {{ ref('int_terms__scopes') }} as scopes
    inner join {{ ref('int_terms__scope_contracts') }} as contracts on scopes.scope_id = contracts.scope_id
    inner join lengths
        on
            scopes.subscription_id = lengths.subscription_id
            and scopes.period_start = lengths.period_start
            and scopes.period_end = lengths.period_end
    where contracts.minimum_commitment > 0
),

measured as (
    select
        committed.*,
        greatest(committed.contract_months, committed.longest_months) as span_months,
        max(committed.subscription_number) over (partition by committed.contract_id, committed.currency) = 1
        and coalesce(
            committed.longest_months = committed.shortest_months
            and committed.longest_months >= committed.contract_months,
            false
        )
            as has_span_per_period,
        -- Whole months between the contract's first day and the period, to within one.
        (
            extract(year from committed.period_start at time zone 'utc')
            - extract(year from committed.effective_from at time zone 'utc')
        )
        * 12
        + extract(month from committed.period_start at time zone 'utc')
        - extract(month from committed.effective_from at time zone 'utc')
            as months_in
    from committed
),

spans as (
    select
        measured.*,
        (
            (measured.effective_from at time zone 'utc')
            + make_interval(months => (measured.span_months * span.n)::int)
        ) at time zone 'utc' as calendar_start,
        (
            (measured.effective_from at time zone 'utc')
            + make_interval(months => (measured.span_months * (span.n + 1))::int)
        ) at time zone 'utc' as calendar_end
    from measured
    cross join lateral (
        values
        (floor(measured.months_in / measured.span_months)),
        (floor(measured.months_in / measured.span_months) - 1)
    ) as span (n)
)

select
    scope_id,
    subscription_id,
    customer_id,
    currency,
    currency_exponent,
    period_start,
    period_end,
    phase,
    contract_id,
    minimum_commitment,
    period_months,
    has_known_length
    and coalesce(span_months % contract_months = 0 and span_months % period_months = 0, false) as has_whole_spans,
    is_in_trial,
    is_partial,
    has_span_per_period,
    effective_until,
    span_months / contract_months as commitments_in_span,
    case when has_span_per_period then period_start else calendar_start end as span_start,
    case when has_span_per_period then period_end else calendar_end end as span_end
from spans
where period_start >= calendar_start and period_start < calendar_end
