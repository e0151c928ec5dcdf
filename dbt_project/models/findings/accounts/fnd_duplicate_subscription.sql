-- The same product billed on more subscriptions than the customer has accounts (billing model 7.28): the surplus
-- subscription's licence as billed, one row per subscription and period.
select
    charges.customer_id,
    charges.subscription_id,
    'duplicate_subscription' as leakage_type,
    'overbilling' as direction,
    null::text as meter,
    charges.period_start,
    charges.period_end,
    charges.phase,
    charges.currency,
    {{ to_currency_units('sum(charges.billed_net)', 'charges.currency_exponent') }} as leakage_amount,
    max(charges.interval_months)::numeric as months,
    min(duplicates.product_id) as cause,
    null::text as reason,
    array_remove(array[case when charges.phase = 'open' then 'period_open' end], null) as doubts,
    'Subscriptions ' || array_to_string(min(duplicates.subscription_ids), ', ') || ' bill the same product to '
    || max(duplicates.account_count)::text || ' account(s): '
    || {{ money_text('sum(charges.billed_net)', 'charges.currency_exponent', 'charges.currency') }}
    || ' too much on ' || charges.subscription_id || '.' as description,
    jsonb_build_object(
        'product_id', min(duplicates.product_id),
        'subscription_ids', to_jsonb(min(duplicates.subscription_ids)),
        'accounts_named', max(duplicates.named_count),
        'accounts_with_access', max(duplicates.account_count),
        'surplus_charges', jsonb_agg(jsonb_build_object(
            'charge_id', charges.charge_id,
            'billed_net', {{ to_currency_units('charges.billed_net', 'charges.currency_exponent') }},
            'invoice_ids', to_jsonb(charges.invoice_ids)
        ) order by charges.charge_id)
    ) as evidence
from {{ ref('int_accounts__duplicates') }} as duplicates
inner join {{ ref('int_bridge__charges') }} as charges
    on duplicates.item_period_id = charges.item_period_id and charges.charge_kind = 'fee'
group by
    charges.customer_id, charges.subscription_id, charges.period_start, charges.period_end, charges.phase,
    charges.currency, charges.currency_exponent
