{#
    The discount at another gross amount than the lines': theirs, moved by the percents alone, between nothing and all.
    Lines that each say the amount each have its discount, rounded by itself.
#}
{% macro discount_at(gross, which) -%}
    {%- set on_lines = 'entitled_discount' if which == 'entitled' else 'line_discount' -%}
    {%- set share = 'coalesce(discount_percent_' ~ which ~ ', 0)' -%}
    case
        when {{ gross }} = line_gross then {{ on_lines }} + missing_amount_off
        when
            line_count > 1 and line_gross = {{ gross }} * line_count
            and {{ on_lines }} = {{ round_money(gross ~ ' * ' ~ share, 'rounding_unit') }} * line_count
            then {{ on_lines }} / line_count + missing_amount_off
        else greatest(least(0, {{ gross }}), least(
            greatest(0, {{ gross }}),
            {{ on_lines }} + missing_amount_off
            + {{ round_money(gross ~ ' * ' ~ share, 'rounding_unit') }}
            - {{ round_money('line_gross * ' ~ share, 'rounding_unit') }}
            -- A fixed amount that emptied the lines has a rest, which a higher amount uses.
            + case when line_gross = {{ on_lines }} and {{ gross }} > line_gross then spare_amount else 0 end
        ))
    end
{%- endmacro %}
