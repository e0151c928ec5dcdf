-- What speaks against a finding from outside its own model: doubts about its customer, and about the usage of its meter
-- in its period. One row per customer, type, direction, meter and period that something speaks against.
with found as (
    select distinct
        customer_id,
        leakage_type,
        direction,
        coalesce(meter, '') as meter_key,
        period_start,
        period_end
    from {{ ref('int_findings__collected') }}
),

raised as (
    select
        found.*,
        unnest(doubts.doubts) as doubt
    from found
    inner join {{ ref('int_quality__account_doubts') }} as doubts
        on found.customer_id = doubts.customer_id and found.leakage_type = doubts.leakage_type
    union
    select
        found.*,
        doubts.doubt
    from found
    inner join {{ ref('int_quality__usage_doubts') }} as doubts
        on
            found.customer_id = doubts.customer_id
            and found.meter_key = doubts.meter
            and found.period_start < doubts.touched_until
            and found.period_end > doubts.touched_from
            and coalesce(found.direction = doubts.direction, true)
)

select
    customer_id,
    leakage_type,
    direction,
    meter_key,
    period_start,
    period_end,
    array_agg(doubt order by doubt) as doubts
from raised
group by customer_id, leakage_type, direction, meter_key, period_start, period_end
