-- A licence changed inside a period and no invoice line bills the change: Stripe's own pair (the old configuration
-- credited, the new one charged for the time left) is missing, or one half of it. Below zero: the customer was not
-- credited for what went.
{{ bridge_finding(
    leakage_type='unbilled_proration',
    direction="case when unbilled_change_step > 0 then 'leak' else 'overbilling' end",
    amount='abs(unbilled_change_step)',
    condition="unbilled_change_step != 0",
    cause="'change'",
    months='null',
    reason="case when unbilled_change_step > 0 then 'change_not_charged' else 'change_not_credited' end",
    doubts=[('inexact_change', 'has_inexact_changes')],
    description="'Changes of the licence in ' || " ~ period_text('period_start', 'period_end')
        ~ " || ' stand on no invoice: ' || " ~ money_text('abs(unbilled_change_step)', 'currency_exponent', 'currency')
        ~ " || case when unbilled_change_step > 0 then ' not charged.' else ' not credited.' end"
) }}
