-- Invoice items that wait although the invoice that should have taken them up has been made, or none will be made any
-- more. Items that the next renewal takes up are in order and are left out.
with renewals as (
    select
        customer_id,
        subscription_id,
        max(created_at) as renewed_at
    from {{ ref('stg_stripe__invoices') }}
    where billing_reason = 'subscription_cycle'
    group by customer_id, subscription_id
),

customers as (
    select
        subscriptions.customer_id,
        max(renewals.renewed_at) as renewed_at,
        bool_or(subscriptions.status in ('active', 'trialing', 'past_due', 'unpaid')) as has_live_subscription
    from {{ ref('stg_stripe__subscriptions') }} as subscriptions
    left join renewals on subscriptions.subscription_id = renewals.subscription_id
    group by subscriptions.customer_id
)

select
    items.invoice_item_id,
    items.customer_id,
    items.subscription_id,
    items.currency,
    coalesce(currencies.exponent, 2) as currency_exponent,
    items.amount,
    items.is_proration,
    items.created_at,
    case
        when items.subscription_id is not null
            then case when subscriptions.ended_at <= settings.as_of then 'subscription_ended' else 'left_behind' end
        when coalesce(customers.has_live_subscription, false) then 'left_behind'
        else 'no_subscription'
    end as left_over_reason
from {{ ref('stg_stripe__invoice_items') }} as items
cross join {{ ref('stg_business__audit_settings') }} as settings
inner join {{ ref('int_periods__customers_in_scope') }} as scope on items.customer_id = scope.customer_id
left join {{ ref('stg_stripe__subscriptions') }} as subscriptions
    on items.subscription_id = subscriptions.subscription_id
left join renewals on items.subscription_id = renewals.subscription_id
left join customers on items.customer_id = customers.customer_id
left join {{ ref('currencies') }} as currencies on items.currency = currencies.currency
where
    items.invoice_id is null
    and items.created_at + make_interval(days => settings.invoice_grace_days) <= settings.as_of
    and case
        when items.subscription_id is not null
            then subscriptions.ended_at <= settings.as_of or renewals.renewed_at > items.created_at
        else not coalesce(customers.has_live_subscription, false) or customers.renewed_at > items.created_at
    end
