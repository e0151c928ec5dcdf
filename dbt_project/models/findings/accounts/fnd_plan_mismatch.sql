-- The product gives a higher plan than the one that is billed: the difference of their list prices, same currency and
-- interval. Wins over feature_leakage, which begins where the product's own plan ends.
select
    customer_id,
    subscription_id,
    'plan_mismatch' as leakage_type,
    'leak' as direction,
    null::text as meter,
    period_start,
    period_end,
    phase,
    currency,
    gap as leakage_amount,
    interval_months::numeric as months,
    billed_plan_key || ' -> ' || plan_key as cause,
    null::text as reason,
    array_remove(array[
        case when phase = 'open' then 'period_open' end,
        case when candidate_count > 1 then 'account_ambiguous' end,
        case when billed_features @> features and jsonb_array_length(features) > 0 then 'features_within_plan' end
    ], null) as doubts,
    'Account ' || account_id || ' is on plan ' || plan_key || ' in the product and on ' || billed_plan_key
    || ' at Stripe: ' || (product_price * product_units)::text || ' against ' || (billed_price * billed_units)::text
    || ' ' || upper(currency) || ' by the price book.' as description,
    jsonb_strip_nulls(jsonb_build_object(
        'account_id', account_id,
        'account_updated_at', updated_at,
        'product_plan', plan_key,
        'product_plan_price', product_price,
        'product_units', product_units,
        'product_price_book_id', product_price_book_id,
        'billed_plan', billed_plan_key,
        'billed_plan_price', billed_price,
        'billed_units', billed_units,
        'billed_price_book_id', billed_price_book_id,
        'contract_id', contract_id,
        'features_enabled', features
    )) as evidence
from {{ ref('int_accounts__plan_gaps') }}
where gap > 0
