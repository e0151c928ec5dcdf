"""The ledger's two assets: what the newest audit calls for, and what was sent.

The first belongs to every audit; the second to a job that nobody starts by default, and does
nothing unless `policy.action_mode` is approve or auto and a write key is set.
"""

from collections import Counter

import dagster as dg

from leakage_pipeline.defs.failures import permanent_failures_end_the_run
from leakage_pipeline.defs.resources import AuditRun, SettingsResource, WarehouseResource
from leakage_pipeline.recovery import sending
from leakage_pipeline.recovery.lanes import deliveries, plan_all
from leakage_pipeline.recovery.outcomes import settle_findings
from leakage_pipeline.recovery.stripe_writer import StripeWriter

GROUP = "recovery"
SENDING_GROUP = "recovery_sending"
_PLANNED = dg.AssetKey(["recovery", "planned_actions"])


@dg.asset(
    key=_PLANNED,
    deps=[
        dg.AssetKey(["marts", "fct_correction_lanes"]),
        dg.AssetKey(["marts", "fct_expected_vs_billed"]),
        dg.AssetKey(["marts", "fct_revenue_recovered"]),
        dg.AssetKey(["marts", "fct_overbilling_corrected"]),
        dg.AssetKey(["publishing", "detection_state"]),
        dg.AssetKey(["ops", "classifications"]),
    ],
    group_name=GROUP,
    kinds={"postgres"},
    pool="warehouse",
)
def planned_actions(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> dg.MaterializeResult[None]:
    """Rows of `ops.recovery_actions` for what could be corrected, with payload; sends nothing.

    Findings whose correction is at Stripe become actioned, and recovered once that is paid.
    """
    with warehouse.connect() as conn:
        as_of = audit_run.as_of_for(context)
        outcomes = settle_findings(conn, as_of)
        done = plan_all(conn, settings.get(), as_of)
    return dg.MaterializeResult(
        metadata={
            "mode": settings.get().policy.action_mode,
            "planned": done.corrections.planned,
            "held": done.corrections.held,
            "withdrawn": done.corrections.withdrawn,
            "deals": done.deals,
            "messages": done.messages,
            "subscription_changes": done.subscription_changes,
            "findings_actioned": outcomes.actioned,
            "findings_recovered": outcomes.recovered,
        }
    )


@dg.asset(
    key=["recovery", "sent_actions"],
    deps=[_PLANNED],
    group_name=SENDING_GROUP,
    kinds={"stripe"},
    pool="warehouse",
)
def sent_actions(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> dg.MaterializeResult[None]:
    """What the mode lets leave, sent at most once; every outcome stands in the ledger."""
    given = settings.get()
    if given.policy.action_mode not in {"approve", "auto"}:
        note = f"policy.action_mode is {given.policy.action_mode}: nothing is sent"
        return dg.MaterializeResult(metadata={"note": note})
    with permanent_failures_end_the_run(), warehouse.connect() as conn:
        writer = StripeWriter.from_settings(given)
        now = audit_run.as_of_for(context)
        report = sending.run(conn, given.policy, writer, now, deliveries(given, writer))
    outcomes = Counter(outcome.partition(":")[0] for _, outcome in report.outcomes)
    return dg.MaterializeResult(
        metadata={"note": report.stopped or "all that may be sent was looked at", **outcomes}
    )
