{% snapshot snapshot_audits %}
{{ config(
    schema='history',
    unique_key='as_of',
    strategy='check',
    updated_at='synced_at',
    hard_deletes='ignore',
    check_cols=['as_of'],
) }}
-- Audits that took snapshots, noted after the snapshots themselves: a later run for an older instant takes none.
-- depends_on: {{ ref('snapshot_subscriptions') }}
-- depends_on: {{ ref('snapshot_subscription_items') }}
-- depends_on: {{ ref('snapshot_prices') }}
-- depends_on: {{ ref('snapshot_accounts') }}
select
    settings.as_of,
    settings.as_of as synced_at
from {{ source('raw_business', 'audit_settings') }} as settings
where {{ is_news_for_snapshots() }}
{% endsnapshot %}
