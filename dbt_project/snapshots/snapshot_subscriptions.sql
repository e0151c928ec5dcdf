{% snapshot snapshot_subscriptions %}
{{ config(
    schema='history',
    unique_key='subscription_id',
    strategy='check',
    updated_at='synced_at',
    hard_deletes='ignore',
    check_cols=[
        'customer_id',
        'status',
        'currency',
        'billing_mode',
        'billing_cycle_anchor',
        'started_at',
        'trial_started_at',
        'trial_ended_at',
        'cancel_at',
        'cancel_at_period_end',
        'canceled_at',
        'ended_at',
        'collection_method',
        'pause_behavior',
        'pause_resumes_at',
        'schedule_id',
    ],
) }}
-- What each audit saw of every subscription; a row holds from the audit that saw it first.
select
    objects.subscription_id,
    objects.customer_id,
    objects.status,
    objects.currency,
    objects.billing_mode,
    objects.billing_cycle_anchor,
    objects.started_at,
    objects.trial_started_at,
    objects.trial_ended_at,
    objects.cancel_at,
    objects.cancel_at_period_end,
    objects.canceled_at,
    objects.ended_at,
    objects.collection_method,
    objects.pause_behavior,
    objects.pause_resumes_at,
    objects.schedule_id,
    settings.as_of as synced_at
from {{ ref('stg_stripe__subscriptions') }} as objects
cross join {{ source('raw_business', 'audit_settings') }} as settings
where {{ is_news_for_snapshots() }}
{% endsnapshot %}
