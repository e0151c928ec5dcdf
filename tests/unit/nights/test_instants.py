"""Every model that asks what time it is says here why a night without changes knows the answer."""

import re

from leakage_pipeline.defs.transform.project import PROJECT_DIR

# It compares instants that stand in the customer's own rows, at once or when a draft is final.
OWN_INSTANTS = """
    fct_invoice_settlement int_accounts__billing_states int_accounts__states
    int_billed__corrections int_billed__credits int_billed__lines
    int_billed__unfinished_invoices int_discounts__invoices
    int_history__line_observations int_history__replaced_items int_history__schedule_observations
    int_periods__items int_periods__usage_finalizations int_preflight__charges
    int_usage__after_cancellation stg_stripe__events
"""
# It compares such an instant after a delay, or one that models work out: thresholds.py lists it.
LISTED = """
    fnd_expiring_payment_method fnd_minimum_shortfall fnd_missing_invoice fnd_missing_local_access
    int_accounts__plan_gaps int_accounts__unconverted_trials int_accounts__unsubscribed
    int_bridge__commitments int_payments__held_invoices int_payments__left_over_items
    int_payments__open_invoices int_payments__undelivered_events int_terms__unmatched_changes
"""
# It asks in which period as_of lies; periods begin and end where usage is cut.
PERIODS = """
    int_accounts__duplicates int_accounts__period_states int_periods__gaps int_periods__item_periods
    int_terms__item_period_prices int_usage__summary_ranges
"""
# Only what a finding says depends on it, and who has a finding or a usage gap is priced every
# night; it begins at an instant of one of the models above.
STANDING = """
    fnd_access_after_cancellation fnd_dispute_open fnd_missing_stripe_subscription
    fnd_retries_exhausted fnd_stuck_draft_invoice fnd_trial_not_converted fnd_unpaid_access
    fnd_webhook_delivery_failure int_findings__exchange_rates int_findings__judged
    int_recovery__meter_corrections int_usage__limits int_usage__recent_quantities
"""
# It is made whole every night, of everybody or of what belongs to nobody.
WHOLE = """
    dim_customers fct_control_coverage fct_incidents fct_leakage_detections fct_leakage_monthly
    fnd_unattributed_usage int_quality__missing_currencies int_quality__usage_meters
    int_quality__usage_outages stg_business__audit_settings
"""
# What it says of an instant stays true: an earlier audit's sight, or an arrival at that audit.
LASTING = """
    int_history__audit_observations int_history__subscription_pauses int_usage__late_arrivals
"""


def test_every_model_that_reads_as_of_is_known_to_the_nights() -> None:
    """A new one belongs into one of the groups, perhaps with a new instant in thresholds.py."""
    asking = {
        path.stem
        for path in (PROJECT_DIR / "models").rglob("*.sql")
        if "as_of" in re.sub("--.*", "", path.read_text(encoding="utf-8"))
    }
    groups = [OWN_INSTANTS, LISTED, PERIODS, STANDING, WHOLE, LASTING]
    named = [name for group in groups for name in group.split()]
    assert sorted(asking) == sorted(named)
