-- Usage that wants an estimate, and the rate for it where one is named; else the lowest list rate of the meter rules.
{% set asking = [
    ('int_usage__unpriced', 'null', 'quantity', 'true'),
    ('int_usage__unattributed', 'null', 'quantity', 'true'),
    ('int_usage__after_cancellation', 'rate_id', 'quantity', 'true'),
    ('int_usage__plan_options', 'rate_id', 'quantity', 'true'),
    ('int_usage__limits', 'rate_id', 'greatest(0, projected_quantity - included_quantity)', "phase = 'open'"),
] %}
{% for model, rate_id, quantity, condition in asking %}
    select
        usage_id,
        stripe_event_name,
        currency,
        period_start,
        {{ quantity }} as quantity,
        {{ rate_id }}::text as rate_id
    from {{ ref(model) }}
    where {{ condition }}
    {{ 'union all' if not loop.last }}
{%- endfor %}
