-- Which findings the doubts about customers, contracts and plans touch: one row per customer and finding type.
-- Bridge findings carry contract_overlap themselves, period by period.
with doubts as (
    select
        customer_id,
        'duplicate_customer' as doubt,
        array[
            'orphaned_subscription', 'missing_stripe_subscription', 'access_after_cancellation', 'trial_not_converted'
        ] as leakage_types
    from {{ ref('int_quality__duplicate_customers') }}
    union all
    select
        customer_id,
        'contract_overlap' as doubt,
        array['plan_mismatch', 'missing_local_access', 'feature_leakage', 'trial_not_converted'] as leakage_types
    from {{ ref('int_quality__clashing_contracts') }}
    union all
    select
        customer_id,
        'plan_unmapped' as doubt,
        array[
            'feature_leakage', 'seat_leakage', 'access_after_cancellation', 'trial_not_converted'
        ] as leakage_types
    from {{ ref('int_quality__unmapped_plans') }}
)

select
    doubts.customer_id,
    touched.leakage_type,
    array_agg(distinct doubts.doubt) as doubts
from doubts
cross join lateral unnest(doubts.leakage_types) as touched (leakage_type)
where doubts.customer_id is not null
group by doubts.customer_id, touched.leakage_type
