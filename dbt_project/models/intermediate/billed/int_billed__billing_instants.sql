-- The instants for which a subscription has a finalised invoice: a licence line bills the period that starts there,
-- a usage line the period that ends there. A component without line at such an instant was left out of an existing
-- invoice; without the instant, the invoice itself is missing.
select distinct
    periods.subscription_id,
    case when periods.usage_type = 'metered' then lines.line_end else lines.line_start end as billed_at
from {{ ref('int_billed__lines') }} as lines
inner join {{ ref('int_periods__item_periods') }} as periods on lines.item_period_id = periods.item_period_id
where not lines.is_proration
