{#
    Joins the months from an anchor to as_of as period_start and period_end, the newest lookback_periods of them and the
    running one, with their phase; anchor + n months, never step by step. Needs the alias settings.
#}
{% macro months_since(alias, anchor) -%}
    cross join lateral (
        select
            bounds.*,
            case
                when bounds.period_end + make_interval(hours => settings.finalization_delay_hours) <= settings.as_of
                    then 'closed'
                else 'open'
            end as phase
        from (
            select
                {{ add_billing_intervals(anchor, 'counter.n', "'month'", '1') }} as period_start,
                {{ add_billing_intervals(anchor, 'counter.n + 1', "'month'", '1') }} as period_end
            from generate_series(
                greatest(
                    0,
                    {{ billing_intervals_between(anchor, 'settings.as_of', "'month'", '1') }} - settings.lookback_periods
                ),
                {{ billing_intervals_between(anchor, 'settings.as_of', "'month'", '1') }} + 1
            ) as counter (n)
        ) as bounds
    ) as {{ alias }}
{%- endmacro %}
