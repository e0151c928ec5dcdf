-- The credit note that would settle a finding of overbilling, in minor units: on the newest invoice whose lines for the
-- period have room for all of it, line by line, what earlier notes took off left out. An amount is before the line's
-- discount, as Stripe takes it; what exceeds the invoice's open amount was paid and goes back.
with wanted as (
    select
        lanes.detection_id,
        lanes.evidence,
        round(lanes.leakage_amount * power(10::numeric, currencies.exponent)) as net_amount
    from {{ ref('int_recovery__lanes') }} as lanes
    inner join {{ ref('currencies') }} as currencies on lanes.currency = currencies.currency
    where lanes.lane = 'credit_note'
),

named as (
    select distinct
        wanted.detection_id,
        wanted.net_amount,
        billed.line_id #>> '{}' as line_id
    from wanted
    cross join lateral jsonb_path_query(wanted.evidence, '$.charges.**.invoice_line_ids[*]') as billed (line_id)
),

credited as (
    select
        note_lines.invoice_line_id,
        sum(note_lines.amount) as amount
    from {{ ref('stg_stripe__credit_note_lines') }} as note_lines
    inner join {{ ref('stg_stripe__credit_notes') }} as notes on note_lines.credit_note_id = notes.credit_note_id
    where notes.status != 'void'
    group by note_lines.invoice_line_id
),

lines as (
    select
        named.*,
        lines.invoice_id,
        lines.amount::numeric as amount,
        (lines.amount - coalesce(lines.discount_amount, 0))::numeric as line_net,
        coalesce(lines.exclusive_tax, 0)::numeric as exclusive_tax,
        floor(
            (lines.amount - coalesce(credited.amount, 0)) * (lines.amount - coalesce(lines.discount_amount, 0))
            / lines.amount::numeric
        ) as room
    from named
    inner join {{ ref('stg_stripe__invoice_lines') }} as lines on named.line_id = lines.line_id
    left join credited on lines.line_id = credited.invoice_line_id
    where
        lines.amount > 0
        and lines.amount > coalesce(lines.discount_amount, 0)
        and coalesce(lines.credit_balance_amount, 0) = 0
),

invoices as (
    select distinct on (lines.detection_id)
        lines.detection_id,
        invoices.*
    from lines
    inner join {{ ref('stg_stripe__invoices') }} as invoices on lines.invoice_id = invoices.invoice_id
    window whole as (partition by lines.detection_id, lines.invoice_id)
    order by lines.detection_id, sum(lines.room) over whole < lines.net_amount, invoices.finalized_at desc
),

shared as (
    select
        lines.*,
        least(lines.room, greatest(0, lines.net_amount - coalesce(sum(lines.room) over earlier, 0))) as credit_net
    from lines
    inner join invoices on lines.detection_id = invoices.detection_id and lines.invoice_id = invoices.invoice_id
    window earlier as (
        partition by lines.detection_id order by lines.room desc, lines.line_id
        rows between unbounded preceding and 1 preceding
    )
),

taken as (
    select
        detection_id,
        sum(credit_net) as credit_net,
        sum(credit_net + round(exclusive_tax * credit_net / line_net)) as credit_total,
        jsonb_agg(jsonb_build_object(
            'type', 'invoice_line_item',
            'invoice_line_item', line_id,
            'amount', round(credit_net * amount / line_net)::bigint
        ) order by room desc, line_id) as credit_lines
    from shared
    where credit_net > 0
    group by detection_id
)

select
    wanted.detection_id,
    invoices.invoice_id,
    invoices.amount_remaining,
    taken.credit_lines,
    taken.credit_total::bigint as credit_total,
    greatest(0, taken.credit_total - invoices.amount_remaining)::bigint as post_payment_amount,
    case
        when taken.credit_net is null or taken.credit_net < wanted.net_amount
            then 'no invoice has room for it: its lines are on several, or were credited before'
        when invoices.status not in ('open', 'paid')
            then 'its invoice is ' || invoices.status || ': Stripe may not take a credit note'
        when
            taken.credit_total - invoices.amount_remaining
            > invoices.amount_paid - coalesce(invoices.post_payment_credit_notes_amount, 0)
            then 'more than the customer has paid and not had back'
    end as held_because
from wanted
left join invoices on wanted.detection_id = invoices.detection_id
left join taken on wanted.detection_id = taken.detection_id
