-- A company of %(customers)s customers, written straight into the raw tables: one subscription each with a licence
-- and three meters, invoiced for the closed period, used every day. One customer in fifty leaks.
-- Parameters: customers, as_of.
create temporary table company on commit drop as
with numbered as (
    select
        i,
        lpad(i::text, 7, '0') as n,
        (array['basic', 'pro', 'business'])[1 + i %% 3] as plan,
        (array[2900, 9900, 49900])[1 + i %% 3] as fee,
        date_trunc('month', %(as_of)s::timestamptz)
        + make_interval(days => i %% 28, secs => (i::bigint * 7919) %% 86400) as this_month
    from generate_series(1, %(customers)s) as numbers (i)
),

opened as (
    select
        *,
        case when this_month <= %(as_of)s then this_month else this_month - interval '1 month' end as open_start
    from numbered
)

select
    i,
    plan,
    'cus_' || n as customer_id,
    'sub_' || n as subscription_id,
    'si_' || n || '_licence' as licence_item,
    'acc_' || n as account_id,
    1 + i %% 4 as seats,
    -- An old, lower licence price: outdated_pricing.
    fee - case when i %% 50 = 13 then 1000 else 0 end as fee,
    'price_' || plan || case when i %% 50 = 13 then '_old' else '' end as licence_price,
    open_start - interval '1 month' as closed_start,
    open_start,
    open_start + interval '1 month' as open_end,
    i %% 10 = 0 as has_discount,
    i %% 3 = 0 as has_contract,
    i %% 50 = 7 as reports_less,
    i %% 200 = 9 as lacks_invoice
from opened;
create unique index on company (customer_id);
analyze company;

create temporary table meters (meter, formula, price_id, source) on commit drop as
values
('api_calls', 'sum', 'price_api_calls', 'gateway'),
('sms', 'sum', 'price_sms', 'campaigns'),
('storage_gb', 'last', 'price_storage_gb', 'buckets');

insert into raw_business.audit_settings (
    singleton, as_of, company, reporting_currency, lookback_periods, usage_tolerance_pct, min_amount, severity_medium,
    severity_high, severity_critical, payment_grace_days, invoice_grace_days, refund_window_days, soft_cap_pct,
    finalization_delay_hours, rollout_customers
)
values (1, %(as_of)s, 'Benchmark', 'usd', 1, 1, 1, 100, 1000, 10000, 14, 3, 60, '{}', 1, '[]');

insert into raw_business.meter_mappings (meter, stripe_event_name)
select meter, meter from meters;

insert into raw_stripe.meters (meter_id, event_name, display_name, status, formula, event_time_window, created)
select 'mtr_' || meter, meter, meter, 'active', formula, 'day', '2024-01-01' from meters;

insert into raw_stripe.products (product_id, name, active, plan, created)
select 'prod_' || name, name, true, case when kind = 'plan' then name end, '2024-01-01'
from (
    select unnest(array['basic', 'pro', 'business']) as name, 'plan' as kind
    union all
    select meter, 'meter' from meters
) as products;

insert into raw_stripe.prices (
    price_id, product_id, active, currency, type, billing_scheme, unit_amount, unit_amount_decimal, tiers_mode,
    transform_divide_by, transform_round, "interval", interval_count, usage_type, meter_id, plan, created
)
select
    'price_' || plan || suffix, 'prod_' || plan, true, 'usd', 'recurring', 'per_unit', fee - off, fee - off, null,
    null, null, 'month', 1, 'licensed', null, plan, '2024-01-01'::timestamptz
from (values ('basic', 2900), ('pro', 9900), ('business', 49900)) as plans (plan, fee)
cross join (values ('', 0), ('_old', 1000)) as ages (suffix, off)
union all
select
    price_id, 'prod_' || meter, true, 'usd', 'recurring',
    case meter when 'api_calls' then 'tiered' else 'per_unit' end,
    case meter when 'sms' then 500 when 'storage_gb' then 12 end,
    case meter when 'sms' then 500 when 'storage_gb' then 12 end,
    case meter when 'api_calls' then 'graduated' end,
    case meter when 'sms' then 1000 end,
    case meter when 'sms' then 'up' end,
    'month', 1, 'metered', 'mtr_' || meter, null, '2024-01-01'
from meters;

insert into raw_stripe.price_currency_options (price_id, currency, unit_amount_decimal)
select price_id, currency, unit_amount_decimal from raw_stripe.prices;

insert into raw_stripe.price_tiers (price_id, currency, tier_index, up_to, unit_amount_decimal, flat_amount_decimal)
values
('price_api_calls', 'usd', 0, 1000, 1, null),
('price_api_calls', 'usd', 1, 10000, 0.5, null),
('price_api_calls', 'usd', 2, null, 0.2, null);

insert into raw_stripe.coupons (coupon_id, name, percent_off, duration, duration_in_months, valid, created)
values ('ten', 'Ten percent', 10, 'repeating', 24, true, '2024-01-01');

insert into raw_stripe.customers (customer_id, email, name, currency, balance, delinquent, deleted, created, metadata)
select customer_id, customer_id || '@example.com', 'Customer ' || i, 'usd', 0, false, false, '2024-01-01', '{}'
from company;

insert into raw_stripe.subscriptions (
    subscription_id, customer_id, status, currency, billing_mode, billing_cycle_anchor, start_date, created,
    cancel_at_period_end, collection_method, latest_invoice_id, account_id, metadata
)
select
    subscription_id, customer_id, 'active', 'usd', 'flexible', closed_start, closed_start, closed_start,
    false, 'charge_automatically', 'in_2_' || customer_id, account_id, '{}'
from company;

insert into raw_stripe.subscription_items (
    subscription_item_id, subscription_id, price_id, quantity, current_period_start, current_period_end, created
)
select licence_item, subscription_id, licence_price, seats, open_start, open_end, closed_start from company
union all
select
    'si_' || meters.meter || '_' || company.customer_id, company.subscription_id, meters.price_id, null,
    company.open_start, company.open_end, company.closed_start
from company
cross join meters;

insert into raw_stripe.discounts (discount_id, coupon_id, customer_id, subscription_id, start_at, end_at)
select
    'di_' || customer_id, 'ten', customer_id, subscription_id, closed_start, closed_start + interval '24 months'
from company
where has_discount;

-- A window for every day and meter; the day on which a period begins has two.
insert into raw_usage.usage_windows (
    customer_id, meter, source, window_start, window_end, event_count, quantity_sum, last_value, last_at, late_count,
    late_sum, duplicate_events
)
select
    company.customer_id,
    meters.meter,
    meters.source,
    bounds.window_start,
    bounds.window_end,
    50,
    quantity.value,
    quantity.value,
    bounds.window_start + interval '1 minute',
    0,
    0,
    0
from company
cross join meters
cross join lateral generate_series(
    date_trunc('day', company.closed_start), %(as_of)s, interval '1 day'
) as days (day)
cross join lateral (
    select greatest(days.day, company.closed_start), least(days.day + interval '1 day', company.open_start)
    where days.day < company.open_start
    union all
    select greatest(days.day, company.open_start), least(days.day + interval '1 day', company.open_end)
    where days.day + interval '1 day' > company.open_start
) as bounds (window_start, window_end)
cross join lateral (
    select (40 + (company.i * 31 + extract(day from days.day)::int * 17 + length(meters.meter) * 7) %% 400)::numeric
) as quantity (value)
where bounds.window_start < bounds.window_end and bounds.window_start < %(as_of)s;

insert into raw_usage.log_coverage (meter, first_event_at, last_event_at, event_count)
select meter, %(as_of)s::timestamptz - interval '90 days', %(as_of)s, 1 from meters;

-- What Stripe metered in the closed period: the log's usage, or less where the reporting leaks.
create temporary table metered on commit drop as
with used as (
    select
        company.customer_id,
        company.reports_less,
        windows.meter,
        case windows.meter
            when 'storage_gb' then (array_agg(windows.last_value order by windows.last_at desc))[1]
            else sum(windows.quantity_sum)
        end as quantity
    from company
    inner join raw_usage.usage_windows as windows
        on
            company.customer_id = windows.customer_id
            and company.closed_start <= windows.window_start
            and company.open_start > windows.window_start
    group by company.customer_id, company.reports_less, windows.meter
)

select
    customer_id,
    meter,
    case when reports_less and meter = 'api_calls' then floor(quantity * 0.7) else quantity end as quantity
from used;
create index on metered (customer_id);
analyze metered;

-- In advance: the licence of the period that starts. In arrears: the usage of the one that ends.
create temporary table lines on commit drop as
select
    'in_1_' || customer_id as invoice_id,
    customer_id,
    licence_item as subscription_item_id,
    licence_price as price_id,
    seats::numeric as quantity,
    fee * seats as amount,
    closed_start as period_start,
    open_start as period_end
from company
union all
select
    'in_2_' || customer_id, customer_id, licence_item, licence_price, seats, fee * seats, open_start, open_end
from company
where not lacks_invoice
union all
select
    'in_2_' || company.customer_id,
    company.customer_id,
    'si_' || metered.meter || '_' || company.customer_id,
    meters.price_id,
    metered.quantity,
    case metered.meter
        when 'sms' then ceil(metered.quantity / 1000) * 500
        when 'storage_gb' then metered.quantity * 12
        else
            round(least(metered.quantity, 1000))
            + round(greatest(0, least(metered.quantity, 10000) - 1000) * 0.5)
            + round(greatest(0, metered.quantity - 10000) * 0.2)
    end,
    company.closed_start,
    company.open_start
from company
inner join metered on company.customer_id = metered.customer_id
inner join meters on metered.meter = meters.meter
where not company.lacks_invoice;

insert into raw_stripe.invoice_lines (
    line_id, invoice_id, line_index, parent_type, subscription_id, subscription_item_id, price_id, currency, amount,
    subtotal, quantity, period_start, period_end, is_proration, discountable, discount_amount, credit_balance_amount,
    exclusive_tax, inclusive_tax
)
select
    'il_' || lines.subscription_item_id || '_' || lines.invoice_id, lines.invoice_id, 0, 'subscription_item_details',
    company.subscription_id, lines.subscription_item_id, lines.price_id, 'usd', lines.amount, lines.amount,
    lines.quantity, lines.period_start, lines.period_end, false, true,
    case when company.has_discount then round(lines.amount * 0.1) else 0 end, 0, 0, 0
from lines
inner join company on lines.customer_id = company.customer_id;

insert into raw_stripe.invoice_line_discounts (line_id, discount_id, amount)
select line_id, 'di_' || company.customer_id, discount_amount
from raw_stripe.invoice_lines as lines
inner join company on lines.subscription_id = company.subscription_id
where lines.discount_amount > 0;

insert into raw_stripe.invoices (
    invoice_id, number, customer_id, subscription_id, status, billing_reason, collection_method, currency, created,
    period_start, period_end, finalized_at, paid_at, auto_advance, subtotal, total, total_discount, amount_shipping,
    amount_due, amount_paid, amount_remaining, starting_balance, ending_balance, pre_payment_credit_notes_amount,
    post_payment_credit_notes_amount, attempt_count
)
select
    lines.invoice_id, lines.invoice_id, company.customer_id, company.subscription_id, 'paid', 'subscription_cycle',
    'charge_automatically', 'usd', min(lines.billed_at), min(lines.billed_at), min(lines.billed_at),
    min(lines.billed_at) + interval '1 hour', min(lines.billed_at) + interval '1 hour', true, sum(lines.amount),
    sum(lines.amount - lines.discount_amount), sum(lines.discount_amount), 0,
    sum(lines.amount - lines.discount_amount), sum(lines.amount - lines.discount_amount), 0, 0, 0, 0, 0, 1
from (
    select
        *,
        case when subscription_item_id like '%%licence' then period_start else period_end end as billed_at
    from raw_stripe.invoice_lines
) as lines
inner join company on lines.subscription_id = company.subscription_id
group by lines.invoice_id, company.customer_id, company.subscription_id;

insert into raw_business.price_book (
    price_book_id, plan, currency, "interval", base_price, seats_included, features, effective_from
)
values
('pb_basic', 'basic', 'usd', 'month', 29, 1, '["dashboards"]', '2024-06-01'),
('pb_pro', 'pro', 'usd', 'month', 99, 1, '["dashboards", "webhooks"]', '2024-06-01'),
('pb_business', 'business', 'usd', 'month', 499, 1, '["dashboards", "webhooks", "sso"]', '2024-06-01');

insert into raw_business.contracts (
    contract_id, customer_id, plan, base_price, currency, "interval", discount_percent, discount_reason,
    effective_date, effective_from
)
select
    'con_' || customer_id, customer_id, plan, (array[29, 99, 499])[1 + i %% 3], 'usd', 'month',
    case when has_discount then 10 end, case when has_discount then 'negotiated' end, '2024-06-01', '2024-06-01'
from company
where has_contract;

-- Contract and price book name the rates that Stripe bills.
insert into raw_business.term_meters (term_kind, term_id, meter, has_rate, rate_kind, divide_by, round_mode)
select
    terms.term_kind, terms.term_id, rates.meter, true, rates.rate_kind, rates.divide_by, rates.round_mode
from (
    select 'price_book' as term_kind, price_book_id as term_id from raw_business.price_book
    union all
    select 'contract', contract_id from raw_business.contracts
) as terms
cross join (
    values
    ('api_calls', 'graduated', null, null), ('sms', 'package', 1000, 'up'), ('storage_gb', 'package', 1, 'none')
) as rates (meter, rate_kind, divide_by, round_mode);

insert into raw_business.term_tiers (term_kind, term_id, meter, tier_index, up_to, unit_amount, flat_amount)
select
    terms.term_kind, terms.term_id, terms.meter, tiers.tier_index, tiers.up_to, tiers.unit_amount, null
from raw_business.term_meters as terms
inner join (
    values
    ('api_calls', 0, 1000, 0.01), ('api_calls', 1, 10000, 0.005), ('api_calls', 2, null, 0.002),
    ('sms', 0, null, 5), ('storage_gb', 0, null, 0.12)
) as tiers (meter, tier_index, up_to, unit_amount) on terms.meter = tiers.meter;

insert into raw_business.accounts (
    account_id, updated_at, customer_id, plan, status, access_enabled, seats, features, health_score, churn_risk,
    owner_email
)
select
    account_id, '2025-01-01', customer_id, plan, 'active', true,
    -- More seats than are billed: seat_leakage.
    seats + case when i %% 100 = 3 then 2 else 0 end, '["dashboards"]', 80, 0.1, 'owner@example.com'
from company;

insert into raw_stripe.sync_status (object, requests, rows, status)
values ('invoices', 1, 1, 'ok');
