-- For every finding type: how many customers and what share of revenue the audit could examine, and what was missing.
with settings as (
    select as_of from {{ ref('stg_business__audit_settings') }}
),

inputs as (
    select
        (
            select count(*)
            from {{ of_all_customers(ref('stg_business__contracts'), 'raw_business', 'contracts') }}
        ) as contracts,
        (select count(*) from {{ ref('stg_business__price_book') }}) as price_book,
        (
            select count(*) from {{ of_all_customers(ref('stg_business__accounts'), 'raw_business', 'accounts') }}
        ) as accounts,
        (
            select count(distinct customer_id) filter (where verdict != 'no_account') * 2 >= count(distinct customer_id)
            from {{ ref('int_accounts__reconciliation') }}
            where is_live
        ) as has_all_accounts,
        (select count(*) from {{ ref('stg_usage__log_coverage') }}) as usage_meters,
        (select count(*) from {{ ref('stg_stripe__meters') }}) as stripe_meters,
        (
            select
                string_agg(
                    meter || ' ' || to_char(silent_from at time zone 'utc', 'YYYY-MM-DD') || ' to '
                    || to_char(silent_until at time zone 'utc' - interval '1 day', 'YYYY-MM-DD'),
                    ', ' order by meter, silent_from
                )
            from {{ ref('int_quality__usage_outages') }}
            where is_severe
        ) as log_outages
),

requirements as (
    select
        types.leakage_type,
        types.leakage_type in (
            'missing_overage', 'unreported_usage', 'overbilled_usage', 'final_usage_lost', 'late_usage',
            'approaching_limit', 'outgrown_plan'
        ) as needs_usage,
        types.leakage_type in ('unmetered_usage', 'unattributed_usage', 'usage_after_cancellation') as needs_log,
        types.leakage_type in (
            'feature_leakage', 'access_after_cancellation', 'seat_leakage', 'plan_mismatch', 'missing_local_access',
            'trial_not_converted', 'unpaid_access', 'missing_stripe_subscription', 'duplicate_subscription'
        ) as needs_accounts,
        -- Who stands alone is seen from a whole accounts file only (rule 8.10).
        types.leakage_type = 'orphaned_subscription' as needs_all_accounts,
        types.leakage_type in (
            'feature_leakage', 'outdated_pricing', 'overbilled_price', 'plan_mismatch', 'missing_stripe_subscription'
        ) as needs_price_book,
        types.leakage_type in ('incorrect_discount', 'minimum_shortfall') as needs_contracts,
        refusals.refused_objects,
        coalesce(refusals.is_blind, false) as is_blind
    from {{ ref('finding_types') }} as types
    left join {{ ref('int_coverage__refusals') }} as refusals on types.leakage_type = refusals.leakage_type
),

population as (
    select
        currency,
        has_usage,
        has_account,
        has_unjudged_minimum,
        count(*) as customers,
        sum(revenue) as revenue,
        sum(rated_revenue) as rated_revenue
    from {{ ref('int_bridge__customer_revenue') }}
    group by currency, has_usage, has_account, has_unjudged_minimum
),

examined as (
    select
        requirements.*,
        population.currency,
        population.customers,
        population.revenue,
        population.rated_revenue,
        (not requirements.needs_usage or (population.has_usage and inputs.usage_meters > 0))
        and (not requirements.needs_log or inputs.usage_meters > 0)
        and (not requirements.needs_accounts or population.has_account)
        and (not requirements.needs_all_accounts or inputs.has_all_accounts)
        and (
            requirements.leakage_type not in ('feature_leakage', 'plan_mismatch', 'missing_stripe_subscription')
            or inputs.price_book > 0
        )
        and (
            requirements.leakage_type != 'minimum_shortfall'
            or (inputs.contracts > 0 and not population.has_unjudged_minimum)
        )
        and not requirements.is_blind as is_examined
    from requirements
    cross join inputs
    cross join population
)

select
    examined.leakage_type,
    coalesce(sum(examined.customers) filter (where examined.is_examined), 0)::bigint as customers_examined,
    sum(examined.customers)::bigint as customers_total,
    coalesce(sum(examined.rated_revenue) filter (where examined.is_examined), 0) as revenue_examined,
    coalesce(sum(examined.revenue), 0) as revenue_total,
    examined.currency,
    to_jsonb(array_remove(array[
        case when (examined.needs_usage or examined.needs_log) and inputs.usage_meters = 0 then 'usage' end,
        case when examined.needs_usage or examined.needs_log then 'usage log silent: ' || inputs.log_outages end,
        case when examined.needs_usage and inputs.stripe_meters = 0 then 'stripe meters' end,
        case
            when (examined.needs_accounts or examined.needs_all_accounts) and inputs.accounts = 0 then 'accounts'
            when examined.needs_all_accounts and not inputs.has_all_accounts then 'accounts (partial)'
        end,
        case when examined.needs_price_book and inputs.price_book = 0 then 'price_book' end,
        case when examined.needs_contracts and inputs.contracts = 0 then 'contracts' end,
        'stripe: ' || examined.refused_objects
    ], null)) as missing_inputs,
    settings.as_of
from examined
cross join inputs
cross join settings
group by
    examined.leakage_type, examined.currency, examined.needs_usage, examined.needs_log, examined.needs_accounts,
    examined.needs_all_accounts, examined.needs_price_book, examined.needs_contracts, inputs.usage_meters,
    inputs.stripe_meters, inputs.accounts, inputs.has_all_accounts, inputs.price_book, inputs.contracts,
    inputs.log_outages, examined.refused_objects, settings.as_of
