-- A closed period without the invoice that should have billed it, once the grace time is over. A draft is not missing
-- (it is stuck, a risk of its own); a licence line that an existing invoice lacks counts here too. What was
-- never billed since a trial is trial_not_converted (7.31).
select
    components.customer_id,
    components.subscription_id,
    'missing_invoice' as leakage_type,
    'leak' as direction,
    null::text as meter,
    components.period_start,
    components.period_end,
    components.phase,
    components.currency,
    {{ to_currency_units(
        'sum(components.missing_invoice_step + case when components.is_fee_line_absent then components.rating_gap_step else 0 end)',
        'components.currency_exponent'
    ) }} as leakage_amount,
    null::numeric as months,
    'invoice' as cause,
    case when sum(components.missing_invoice_step) > 0 then 'no_invoice' else 'licence_line_absent' end as reason,
    array[]::text[] as doubts,
    'No finalised invoice bills '
    || string_agg(coalesce(components.meter, 'the licence'), ', ' order by components.meter)
    || ' for ' || {{ period_text('components.period_start', 'components.period_end') }} || ': '
    || {{ money_text(
        'sum(components.missing_invoice_step + case when components.is_fee_line_absent then components.rating_gap_step else 0 end)',
        'components.currency_exponent', 'components.currency'
    ) }} || ' expected.' as description,
    jsonb_build_object('charges', jsonb_agg(components.evidence)) as evidence
from {{ ref('int_bridge__components') }} as components
cross join {{ ref('stg_business__audit_settings') }} as settings
where
    components.phase = 'closed'
    and not components.has_draft
    and components.missing_invoice_step
    + case when components.is_fee_line_absent then components.rating_gap_step else 0 end > 0
    and components.period_end + make_interval(days => settings.invoice_grace_days) <= settings.as_of
    and not exists (
        select 1 from {{ ref('fnd_trial_not_converted') }} as trials
        where
            components.subscription_id = trials.subscription_id
            and components.period_start < trials.period_end
            and components.period_end > trials.period_start
    )
group by
    components.scope_id, components.customer_id, components.subscription_id, components.period_start,
    components.period_end, components.phase, components.currency, components.currency_exponent
