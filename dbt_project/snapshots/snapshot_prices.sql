{% snapshot snapshot_prices %}
{{ config(
    schema='history',
    unique_key='price_id',
    strategy='check',
    updated_at='synced_at',
    hard_deletes='ignore',
    check_cols=[
        'product_id',
        'is_active',
        'currency',
        'unit_amount_decimal',
        'tiers_mode',
        'transform_divide_by',
        'transform_round',
        'tax_behavior',
        'lookup_key',
        'nickname',
        'plan',
    ],
) }}
-- What each audit saw of every price: what may change of one, such as its plan, and what may not.
select
    objects.price_id,
    objects.product_id,
    objects.is_active,
    objects.currency,
    objects.unit_amount_decimal,
    objects.tiers_mode,
    objects.transform_divide_by,
    objects.transform_round,
    objects.tax_behavior,
    objects.lookup_key,
    objects.nickname,
    objects.plan,
    settings.as_of as synced_at
from {{ ref('stg_stripe__prices') }} as objects
cross join {{ source('raw_business', 'audit_settings') }} as settings
where {{ is_news_for_snapshots() }}
{% endsnapshot %}
