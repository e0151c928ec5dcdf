{% snapshot snapshot_accounts %}
{{ config(
    schema='history',
    unique_key='account_id',
    strategy='check',
    updated_at='synced_at',
    hard_deletes='ignore',
    check_cols=[
        'customer_id',
        'plan_key',
        'status',
        'has_access',
        'seats',
        'features',
        'health_score',
        'churn_risk',
        'owner_email',
        'updated_at',
    ],
) }}
-- What each audit saw of every account of the product: the newest state that the file had.
select distinct on (objects.account_id)
    objects.account_id,
    objects.customer_id,
    objects.plan_key,
    objects.status,
    objects.has_access,
    objects.seats,
    objects.features,
    objects.health_score,
    objects.churn_risk,
    objects.owner_email,
    objects.updated_at,
    settings.as_of as synced_at
from {{ ref('stg_business__accounts') }} as objects
cross join {{ source('raw_business', 'audit_settings') }} as settings
where objects.updated_at <= settings.as_of and {{ is_news_for_snapshots() }}
order by objects.account_id, objects.updated_at desc
{% endsnapshot %}
