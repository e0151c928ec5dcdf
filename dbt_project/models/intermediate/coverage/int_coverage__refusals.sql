-- What Stripe would not show, for every finding type that it matters to: objects of billing matter to all, the others
-- to the types that read them. A type is blind without an object of its own.
with needs (leakage_type, object) as (
    values
    ('duplicate_refund', 'charges'),
    ('duplicate_refund', 'refunds'),
    ('dispute_open', 'charges'),
    ('dispute_open', 'disputes'),
    ('expiring_payment_method', 'payment_methods'),
    ('webhook_delivery_failure', 'undelivered_events')
),

concerned as (
    select
        types.leakage_type,
        status.object,
        needs.object is not null as is_own
    from {{ ref('finding_types') }} as types
    cross join {{ ref('stg_stripe__sync_status') }} as status
    left join needs on types.leakage_type = needs.leakage_type and status.object = needs.object
    where
        status.status != 'ok'
        and (
            needs.object is not null
            or status.object in ('coupons', 'credit_notes', 'invoice_items', 'meters', 'meter_event_summaries')
            -- How a subscription came to be what it is.
            or (types.leakage_type = 'unbilled_proration' and status.object in ('events', 'subscription_schedules'))
        )
)

select
    leakage_type,
    string_agg(object, ', ' order by object) as refused_objects,
    bool_or(is_own) as is_blind
from concerned
group by leakage_type
