{# instant + n billing intervals on the UTC calendar: month ends clamp as Stripe clamps them (Jan 31 -> Feb 28 -> Mar 31). #}
{% macro add_billing_intervals(instant, n, interval_column, count_column) -%}
    (
        ({{ instant }} at time zone 'utc') + make_interval(
            months => (
                case {{ interval_column }} when 'year' then 12 when 'month' then 1 else 0 end * {{ count_column }} * ({{ n }})
            )::int,
            days => (
                case {{ interval_column }} when 'week' then 7 when 'day' then 1 else 0 end * {{ count_column }} * ({{ n }})
            )::int
        )
    ) at time zone 'utc'
{%- endmacro %}
