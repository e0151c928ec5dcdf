-- All finding models behind one interface. A new finding type is one model named fnd_<type>, added to this list.
{% set finding_models = [
    'fnd_outdated_pricing',
    'fnd_missing_overage',
    'fnd_unreported_usage',
    'fnd_late_usage',
    'fnd_unmetered_usage',
    'fnd_unattributed_usage',
    'fnd_usage_after_cancellation',
    'fnd_overbilled_usage',
    'fnd_final_usage_lost',
    'fnd_overbilled_price',
    'fnd_double_charge',
    'fnd_seat_leakage',
    'fnd_unbilled_proration',
    'fnd_missing_invoice',
    'fnd_incorrect_discount',
    'fnd_minimum_shortfall',
    'fnd_over_credited',
    'fnd_feature_leakage',
    'fnd_access_after_cancellation',
    'fnd_plan_mismatch',
    'fnd_missing_local_access',
    'fnd_trial_not_converted',
    'fnd_missing_stripe_subscription',
    'fnd_orphaned_subscription',
    'fnd_duplicate_subscription',
] %}
{% for model in finding_models %}
    select
        customer_id,
        subscription_id,
        leakage_type,
        direction,
        meter,
        period_start,
        period_end,
        phase,
        currency,
        leakage_amount,
        months,
        cause,
        reason,
        doubts,
        description,
        evidence
    from {{ ref(model) }}
    {{ 'union all' if not loop.last }}
{%- endfor %}
