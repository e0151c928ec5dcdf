-- The gap between true and metered usage of each charge: whether it is large enough to publish (billing model,
-- tolerance), and the one source whose own volume is the gap, which then is its cause.
with gaps as (
    select
        quantities.charge_id,
        terms.phase,
        quantities.metered_quantity,
        abs(quantities.true_quantity - quantities.metered_quantity) as gap_quantity,
        coalesce(recent.recent_quantity, 0) as recent_quantity,
        settings.usage_tolerance_pct
    from {{ ref('int_usage__metered_quantities') }} as quantities
    inner join {{ ref('int_terms__metered_terms') }} as terms on quantities.charge_id = terms.charge_id
    left join {{ ref('int_usage__recent_quantities') }} as recent on quantities.charge_id = recent.charge_id
    cross join {{ ref('stg_business__audit_settings') }} as settings
    where quantities.true_quantity != quantities.metered_quantity
),

matching_source as (
    select distinct on (gaps.charge_id)
        gaps.charge_id,
        sources.source,
        sources.quantity_sum
    from gaps
    inner join {{ ref('int_usage__period_sources') }} as sources on gaps.charge_id = sources.charge_id
    where
        sources.source != ''
        and abs(sources.quantity_sum - gaps.gap_quantity) <= gaps.gap_quantity / 100
    order by gaps.charge_id, abs(sources.quantity_sum - gaps.gap_quantity), sources.source
)

select
    gaps.charge_id,
    gaps.gap_quantity,
    -- No tolerance hides a meter that bills nothing at all.
    (gaps.metered_quantity = 0 or gaps.gap_quantity * 100 > gaps.usage_tolerance_pct * gaps.metered_quantity)
    and (gaps.phase = 'closed' or gaps.gap_quantity > gaps.recent_quantity) as is_published,
    matching_source.source as cause_source
from gaps
left join matching_source on gaps.charge_id = matching_source.charge_id
