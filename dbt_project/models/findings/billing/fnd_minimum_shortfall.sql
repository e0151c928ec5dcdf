-- The contract's minimum commitment was not reached, and nothing bills the rest (billing model 7.16).
select
    scopes.customer_id,
    scopes.subscription_id,
    'minimum_shortfall' as leakage_type,
    'leak' as direction,
    null::text as meter,
    scopes.period_start,
    scopes.period_end,
    scopes.phase,
    scopes.currency,
    {{ to_currency_units('minimums.shortfall', 'scopes.currency_exponent') }} as leakage_amount,
    null::numeric as months,
    minimums.contract_id as cause,
    null::text as reason,
    array[]::text[] as doubts,
    'Charges of ' || {{ money_text('minimums.expected_net', 'scopes.currency_exponent', 'scopes.currency') }}
    || case
        when minimums.subscription_count > 1 then ' on ' || minimums.subscription_count::text || ' subscriptions'
        else ''
    end
    || ' in ' || {{ period_text('minimums.span_start', 'minimums.span_end') }}
    || ' stay below the minimum commitment of ' || trim_scale(minimums.minimum_commitment)::text || ' '
    || upper(scopes.currency) || '.' as description,
    jsonb_build_object(
        'contract_id', minimums.contract_id,
        'minimum_commitment', minimums.minimum_commitment,
        'span_start', minimums.span_start,
        'span_end', minimums.span_end,
        'subscriptions', minimums.subscription_count,
        'expected_net', {{ to_currency_units('minimums.expected_net', 'scopes.currency_exponent') }},
        'shortfall', {{ to_currency_units('minimums.shortfall', 'scopes.currency_exponent') }}
    ) as evidence
from {{ ref('int_bridge__minimums') }} as minimums
inner join {{ ref('int_terms__scopes') }} as scopes on minimums.scope_id = scopes.scope_id
cross join {{ ref('stg_business__audit_settings') }} as settings
where
    minimums.shortfall > 0
    and greatest(scopes.period_end, minimums.span_end) + make_interval(days => settings.invoice_grace_days)
    <= settings.as_of
