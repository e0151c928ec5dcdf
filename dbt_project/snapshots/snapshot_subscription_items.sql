{% snapshot snapshot_subscription_items %}
{{ config(
    schema='history',
    unique_key='subscription_item_id',
    strategy='check',
    updated_at='synced_at',
    hard_deletes='ignore',
    check_cols=[
        'subscription_id',
        'price_id',
        'quantity',
        'current_period_start',
        'current_period_end',
    ],
) }}
-- What each audit saw of every subscription item; a row holds from the audit that saw it first.
select
    objects.subscription_item_id,
    objects.subscription_id,
    objects.price_id,
    objects.quantity,
    objects.current_period_start,
    objects.current_period_end,
    settings.as_of as synced_at
from {{ ref('stg_stripe__subscription_items') }} as objects
cross join {{ source('raw_business', 'audit_settings') }} as settings
where {{ is_news_for_snapshots() }}
{% endsnapshot %}
