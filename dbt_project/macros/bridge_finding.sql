{#
    One finding type read off the bridge: the rows of int_bridge__components where a step leaks, in the interface that
    fct_leakage_detections collects. amount is in minor units and positive; description is one SQL
    text expression, and direction one of its two words or a case expression that gives one; numbers are further ones of
    the evidence, in minor units.
#}
{% macro bridge_finding(leakage_type, amount, condition, description, direction, cause='null::text', reason='null::text', doubts=[], months='interval_months', numbers={}) -%}
select
    customer_id,
    subscription_id,
    '{{ leakage_type }}' as leakage_type,
    {{ direction if direction.startswith('case ') else "'" ~ direction ~ "'" }} as direction,
    meter,
    period_start,
    period_end,
    -- What already stands on a draft can still be mended before it goes out.
    case when phase = 'open' and has_draft and line_count = 0 then 'preflight' else phase end as phase,
    currency,
    {{ to_currency_units(amount, 'currency_exponent') }} as leakage_amount,
    {{ months }}::numeric as months,
    {{ cause }} as cause,
    {{ reason }} as reason,
    array_remove(array[
        case when phase = 'open' then 'period_open' end,
        case when authority = 'stripe' then 'stripe_price_only' end,
        case when has_prorations then 'mid_period_change' end,
        case when has_overlapping_contracts then 'contract_overlap' end,
        case when has_log_outage then 'log_outage' end
        {%- for doubt, when in doubts %},
        case when {{ when }} then '{{ doubt }}' end
        {%- endfor %}
    ], null) as doubts,
    {{ description }} as description,
    jsonb_strip_nulls(jsonb_build_object(
        'meter', meter,
        'reason', {{ reason }},
        'authority', authority,
        'contract_id', contract_id,
        'price_book_id', price_book_id,
        'expected_quantity', expected_quantity,
        'billed_quantity', billed_quantity,
        {%- for name, number in numbers.items() %}
        '{{ name }}', {{ to_currency_units(number, 'currency_exponent') }},
        {%- endfor %}
        'charges', evidence
    )) as evidence
from {{ ref('int_bridge__components') }}
where {{ condition }}
{%- endmacro %}
