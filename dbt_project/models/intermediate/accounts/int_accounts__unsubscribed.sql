-- Accounts in service that no subscription ever paid for, and since when that is known (billing model 7.31, 8.9). Left
-- out are customers who are invoiced by hand, and service so young that its subscription may still come.
with without_subscription as (
    select distinct on (pairs.account_id)
        pairs.account_id,
        states.customer_id,
        states.served_since
    from {{ ref('int_accounts__reconciliation') }} as pairs
    inner join {{ ref('int_accounts__states') }} as states
        on pairs.account_id = states.account_id and states.is_newest
    where pairs.verdict = 'no_subscription' and states.is_served
    order by pairs.account_id
),

invoiced_by_hand as (
    select
        invoices.customer_id,
        max(invoices.created_at) as last_invoiced_at
    from {{ ref('stg_stripe__invoices') }} as invoices
    cross join {{ ref('stg_business__audit_settings') }} as settings
    where
        invoices.status in ('draft', 'open', 'paid', 'uncollectible')
        and invoices.total > 0
        and invoices.created_at <= settings.as_of
    group by invoices.customer_id
),

started as (
    select distinct customer_id from {{ ref('int_accounts__billing_states') }}
)

select
    without_subscription.account_id,
    -- An account that no Stripe customer stands behind is known by its own name.
    coalesce(without_subscription.customer_id, without_subscription.account_id) as customer_id,
    without_subscription.served_since,
    case
        when without_subscription.customer_id is null then 'no_customer_id'
        when customers.customer_id is null then 'unknown_customer'
        when customers.is_deleted then 'deleted_customer'
        when started.customer_id is not null then 'never_started'
        else 'no_subscription'
    end as reason,
    customers.currency
from without_subscription
cross join {{ ref('stg_business__audit_settings') }} as settings
left join {{ ref('stg_stripe__customers') }} as customers on without_subscription.customer_id = customers.customer_id
left join {{ ref('int_periods__customers_in_scope') }} as scope
    on without_subscription.customer_id = scope.customer_id
left join started on without_subscription.customer_id = started.customer_id
left join invoiced_by_hand on without_subscription.customer_id = invoiced_by_hand.customer_id
where
    without_subscription.served_since + make_interval(days => settings.invoice_grace_days) <= settings.as_of
    and (
        invoiced_by_hand.last_invoiced_at is null
        or invoiced_by_hand.last_invoiced_at < settings.as_of - interval '1 year'
    )
    and (
        scope.customer_id is not null
        -- A rollout that audits a part first says nothing about customers that Stripe does not know.
        or (
            customers.customer_id is null
            and coalesce(jsonb_array_length(settings.rollout_customers), 0) = 0
            and settings.rollout_created_after is null
            and settings.rollout_max_customers is null
        )
    )
