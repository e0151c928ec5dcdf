-- The hold list: draft invoices that would go out wrong, with what they say and what they should say.
with wrong as (
    select
        coalesce(evidence ->> 'draft_invoice_id', evidence #>> '{charges,0,draft_invoice_id}') as invoice_id,
        customer_id,
        currency,
        sum(case when direction = 'overbilling' then -leakage_amount else leakage_amount end) as difference,
        to_jsonb(array_agg(distinct leakage_type order by leakage_type)) as reasons,
        to_jsonb(array_agg(detection_id order by detection_id)) as detection_ids,
        string_agg(description, ' ' order by leakage_amount desc, detection_id) as description
    from {{ ref('fct_leakage_detections') }}
    where phase = 'preflight' and direction in ('leak', 'overbilling')
    group by
        coalesce(evidence ->> 'draft_invoice_id', evidence #>> '{charges,0,draft_invoice_id}'), customer_id, currency
)

select
    wrong.invoice_id,
    wrong.customer_id,
    invoices.subscription_id,
    wrong.currency,
    drafted.amount as drafted_amount,
    drafted.amount + wrong.difference as expected_amount,
    wrong.difference,
    wrong.reasons,
    wrong.detection_ids,
    invoices.automatically_finalizes_at as finalises_at,
    wrong.description
from wrong
inner join {{ ref('stg_stripe__invoices') }} as invoices on wrong.invoice_id = invoices.invoice_id
left join {{ ref('currencies') }} as currencies on wrong.currency = currencies.currency
cross join lateral (
    -- Net of discounts, without exclusive tax, as everywhere.
    select
        {{ to_currency_units(
            'coalesce(sum(lines.amount - coalesce(lines.discount_amount, 0)), 0)::numeric',
            'coalesce(currencies.exponent, 2)'
        ) }} as amount
    from {{ ref('stg_stripe__invoice_lines') }} as lines
    where lines.invoice_id = wrong.invoice_id
) as drafted
