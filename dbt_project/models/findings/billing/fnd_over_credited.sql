-- Credits beyond policy (billing model 7.27): issued more than refund_window_days after the invoice was finalised, or
-- more on a line than the line came to. One row per subscription and period; a late credit is not counted again as
-- part of what exceeds its line.
with noted as (
    select
        credits.credit_note_id,
        credits.line_id,
        credits.credit_amount,
        credits.issued_at,
        lines.item_period_id,
        lines.invoice_id,
        greatest(0, lines.gross_amount - lines.discount_amount) as line_net,
        coalesce(
            credits.issued_at > lines.finalized_at + make_interval(days => settings.refund_window_days), false
        ) as is_late
    from {{ ref('int_billed__credits') }} as credits
    inner join {{ ref('int_billed__lines') }} as lines on credits.line_id = lines.line_id
    cross join {{ ref('stg_business__audit_settings') }} as settings
    -- What our own notes gave back was overbilled: somebody released them.
    where credits.credit_amount > 0 and credits.action_id is null
),

by_line as (
    select
        item_period_id,
        line_id,
        invoice_id,
        line_net,
        sum(credit_amount) as credited,
        coalesce(sum(credit_amount) filter (where is_late), 0) as credited_late,
        jsonb_agg(
            jsonb_build_object(
                'credit_note_id', credit_note_id, 'issued_at', issued_at, 'is_late', is_late,
                'amount_in_minor_units', credit_amount
            ) order by issued_at, credit_note_id
        ) as credit_notes
    from noted
    group by item_period_id, line_id, invoice_id, line_net
),

measured as (
    select
        by_line.*,
        greatest(0, by_line.credited - by_line.credited_late - by_line.line_net) as above_line
    from by_line
)

select
    scopes.customer_id,
    scopes.subscription_id,
    'over_credited' as leakage_type,
    'leak' as direction,
    null::text as meter,
    scopes.period_start,
    scopes.period_end,
    scopes.phase,
    scopes.currency,
    {{ to_currency_units('sum(measured.credited_late + measured.above_line)', 'scopes.currency_exponent') }}
        as leakage_amount,
    null::numeric as months,
    'credit_note' as cause,
    case when sum(measured.credited_late) > 0 then 'after_refund_window' else 'above_line' end as reason,
    array[]::text[] as doubts,
    'Credit notes of '
    || {{ money_text('sum(measured.credited)', 'scopes.currency_exponent', 'scopes.currency') }} || ' for '
    || {{ period_text('scopes.period_start', 'scopes.period_end') }} || ': '
    || {{ money_text('sum(measured.credited_late)', 'scopes.currency_exponent', 'scopes.currency') }}
    || ' later than ' || max(settings.refund_window_days)::text || ' days after the invoice, '
    || {{ money_text('sum(measured.above_line)', 'scopes.currency_exponent', 'scopes.currency') }}
    || ' above the line''s own amount.' as description,
    jsonb_build_object(
        'reason', case when sum(measured.credited_late) > 0 then 'after_refund_window' else 'above_line' end,
        'refund_window_days', max(settings.refund_window_days),
        'credited', {{ to_currency_units('sum(measured.credited)', 'scopes.currency_exponent') }},
        'credited_late', {{ to_currency_units('sum(measured.credited_late)', 'scopes.currency_exponent') }},
        'credited_above_line', {{ to_currency_units('sum(measured.above_line)', 'scopes.currency_exponent') }},
        'lines', jsonb_agg(jsonb_build_object(
            'invoice_id', measured.invoice_id,
            'line_id', measured.line_id,
            'line_net', {{ to_currency_units('measured.line_net', 'scopes.currency_exponent') }},
            'credited', {{ to_currency_units('measured.credited', 'scopes.currency_exponent') }},
            'credit_notes', measured.credit_notes
        ) order by measured.line_id)
    ) as evidence
from measured
inner join {{ ref('int_periods__item_periods') }} as periods on measured.item_period_id = periods.item_period_id
inner join {{ ref('int_terms__scopes') }} as scopes
    on
        periods.subscription_id = scopes.subscription_id
        and periods.period_start = scopes.period_start
        and periods.period_end = scopes.period_end
cross join {{ ref('stg_business__audit_settings') }} as settings
where measured.credited_late + measured.above_line > 0
group by
    scopes.scope_id, scopes.customer_id, scopes.subscription_id, scopes.period_start, scopes.period_end, scopes.phase,
    scopes.currency, scopes.currency_exponent
