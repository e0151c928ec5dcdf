-- What a subscription's status means for the product (rules 8.1 to 8.8), as it stood at as_of: what was made later is
-- left out, what ended later had not ended. One row per subscription of the customers in scope.
select
    subscriptions.subscription_id,
    subscriptions.customer_id,
    subscriptions.account_id,
    subscriptions.status,
    case
        when subscriptions.status = 'incomplete' then 'awaiting_first_payment'
        when subscriptions.status = 'incomplete_expired' then 'never_started'
        when trials.subscription_id is not null then 'trial_over'
        when subscriptions.status = 'canceled' and subscriptions.ended_at > settings.as_of then 'billing'
        when subscriptions.status = 'canceled' then 'ended'
        when subscriptions.status = 'trialing' then 'in_trial'
        when subscriptions.status = 'paused' then 'paused'
        when subscriptions.pause_behavior is not null then 'collection_paused'
        when subscriptions.status = 'past_due' then 'overdue'
        when subscriptions.status = 'unpaid' then 'unpaid'
        else 'billing'
    end as billing_state,
    subscriptions.status not in ('incomplete', 'incomplete_expired') as is_started,
    subscriptions.status in ('active', 'trialing', 'past_due', 'unpaid', 'paused')
    or coalesce(subscriptions.status = 'canceled' and subscriptions.ended_at > settings.as_of, false) as is_live,
    subscriptions.cancel_at_period_end or subscriptions.cancel_at is not null as is_leaving,
    subscriptions.created_at,
    subscriptions.trial_ended_at,
    case when subscriptions.ended_at <= settings.as_of then subscriptions.ended_at end as ended_at
from {{ ref('stg_stripe__subscriptions') }} as subscriptions
inner join {{ ref('int_periods__customers_in_scope') }} as scope on subscriptions.customer_id = scope.customer_id
cross join {{ ref('stg_business__audit_settings') }} as settings
left join {{ ref('int_accounts__unconverted_trials') }} as trials
    on subscriptions.subscription_id = trials.subscription_id
where subscriptions.created_at is null or subscriptions.created_at <= settings.as_of
