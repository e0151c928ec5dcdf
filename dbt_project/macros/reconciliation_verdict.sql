{#
    What the rules 8.1 to 8.10 of the billing model say of an account and a subscription side by side; first match wins.
    Reads the columns of int_accounts__reconciliation.
#}
{% macro reconciliation_verdict() -%}
    case
        -- 8.10: nobody in the product.
        when (account_id is null or is_gone) and is_live then 'no_account'
        when account_id is null or is_gone then 'closed'
        -- 8.9: nobody at Stripe, and 8.2: a first payment that never came.
        when not has_begun and not has_access then 'agreed'
        when not has_begun and product_status = 'trialing' then 'product_trial'
        when not has_begun then 'no_subscription'
        -- 8.1: the first payment is awaited for 23 hours.
        when billing_state = 'awaiting_first_payment' then 'first_payment_pending'
        -- One of several: another subscription of the customer pays for the account.
        when not is_payer and is_live then 'beside'
        when not is_payer then 'superseded'
        -- 8.3 and 7.31
        when billing_state = 'in_trial' then 'agreed'
        when billing_state = 'trial_over' and has_access then 'trial_not_converted'
        -- 8.4
        when billing_state = 'billing' and not has_access then 'paid_without_access'
        -- 8.5 to 8.8: access off is right, or may be.
        when not has_access then 'agreed'
        when billing_state in ('overdue', 'unpaid') then 'access_while_overdue'
        when billing_state in ('paused', 'collection_paused') then 'access_while_paused'
        when billing_state = 'ended' then 'access_after_end'
        when plan_relation = 'product_higher' then 'product_plan_higher'
        when plan_relation = 'product_lower' then 'product_plan_lower'
        else 'agreed'
    end
{%- endmacro %}
