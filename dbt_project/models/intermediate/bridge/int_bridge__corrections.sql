-- Books each billed correction to the charges that it corrects, in the step of its finding: as much as each charge
-- lacks, in order; what is left over goes to the charge that the correction names, so that too much shows as
-- overbilling. A missing invoice is corrected over all charges of the period, another leak over those of its meter.
with corrections as (
    select
        corrections.leakage_type,
        anchors.charge_id as anchor_id,
        anchors.scope_id,
        anchors.stripe_event_name,
        sum(corrections.net_amount) as net_amount
    from {{ ref('int_billed__corrections') }} as corrections
    inner join {{ ref('int_bridge__steps') }} as anchors on corrections.charge_id = anchors.charge_id
    group by corrections.leakage_type, anchors.charge_id, anchors.scope_id, anchors.stripe_event_name
),

scopes as (
    select distinct scope_id from corrections
),

steps as (
    select
        steps.*,
        steps.charge_kind = 'fee' and steps.line_count = 0 as is_fee_without_line
    from {{ ref('int_bridge__steps') }} as steps
    inner join scopes on steps.scope_id = scopes.scope_id
),

possible as (
    select
        steps.scope_id,
        steps.stripe_event_name,
        steps.charge_id,
        possible.leakage_type,
        possible.step,
        possible.choice,
        greatest(0, coalesce(possible.lack, 0)) as lack
    from steps
    cross join lateral (
        values
        ('missing_invoice', 'missing_invoice', 1, steps.missing_invoice_step),
        ('missing_invoice', 'rating', 2, case when steps.is_fee_without_line then steps.rating_gap_step end),
        ('unreported_usage', 'usage', 1, steps.usage_gap_step - steps.late_usage_step),
        ('final_usage_lost', 'usage', 1, steps.usage_gap_step),
        ('late_usage', 'late_usage', 1, steps.late_usage_step),
        ('outdated_pricing', 'price', 1, case when steps.change_kind is null then steps.price_gap_step end),
        ('outdated_pricing', 'rating', 2, case when steps.charge_kind != 'usage' then steps.rating_gap_step end),
        ('missing_overage', 'rating', 1, case when steps.is_billed_by_stripe then steps.rating_gap_step end),
        ('missing_overage', 'price', 2, case when not steps.is_billed_by_stripe then steps.price_gap_step end),
        ('seat_leakage', 'quantity', 1, case when steps.change_kind is null then steps.quantity_gap_step end),
        ('unbilled_proration', 'price', 1, case when steps.change_kind is not null then steps.price_gap_step end),
        ('unbilled_proration', 'quantity', 2, case when steps.change_kind is not null then steps.quantity_gap_step end),
        ('incorrect_discount', 'discount', 1, steps.discount_gap_step)
    ) as possible (leakage_type, step, choice, lack)
),

lacking as (
    select
        corrections.leakage_type,
        corrections.anchor_id,
        corrections.net_amount,
        possible.charge_id,
        possible.step,
        possible.lack,
        -- One row takes what is left over.
        row_number() over (
            partition by corrections.leakage_type, corrections.anchor_id
            order by possible.charge_id = corrections.anchor_id desc, possible.choice, possible.charge_id
        ) as choice
    from corrections
    inner join possible
        on
            corrections.scope_id = possible.scope_id
            and corrections.leakage_type = possible.leakage_type
            and (
                corrections.leakage_type = 'missing_invoice'
                or corrections.stripe_event_name is not distinct from possible.stripe_event_name
            )
),

shared as (
    select
        *,
        least(lack, greatest(0, net_amount - coalesce(sum(lack) over earlier, 0))) as amount,
        greatest(0, net_amount - sum(lack) over (partition by leakage_type, anchor_id)) as left_over
    from lacking
    window earlier as (
        partition by leakage_type, anchor_id order by choice rows between unbounded preceding and 1 preceding
    )
),

booked as (
    select
        charge_id,
        step,
        amount + case when choice = 1 then left_over else 0 end as amount
    from shared
)

select
    charge_id,
    sum(amount) as billed_amount,
    coalesce(sum(amount) filter (where step = 'missing_invoice'), 0) as missing_invoice_amount,
    coalesce(sum(amount) filter (where step in ('usage', 'late_usage')), 0) as usage_amount,
    coalesce(sum(amount) filter (where step = 'late_usage'), 0) as late_usage_amount,
    coalesce(sum(amount) filter (where step = 'price'), 0) as price_amount,
    coalesce(sum(amount) filter (where step = 'quantity'), 0) as quantity_amount,
    coalesce(sum(amount) filter (where step = 'discount'), 0) as discount_amount,
    coalesce(sum(amount) filter (where step = 'rating'), 0) as rating_amount
from booked
where amount != 0
group by charge_id
