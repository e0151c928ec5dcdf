"""What became of findings, by what Stripe shows and never because something was sent.

Actioned once a correction is there; recovered once it is billed and paid, or given back where too
much was billed, and found no more.
"""

from dataclasses import dataclass
from datetime import datetime

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.recovery.ledger import RECOVERY
from leakage_pipeline.review import decisions

_ACTIONED = """
    select distinct actions.detection_id
    from ops.recovery_actions as actions
    left join ops.detection_state as state on actions.detection_id = state.detection_id
    where actions.status = 'confirmed'
        and actions.action in ('invoice_item', 'meter_event', 'credit_note')
        and coalesce(state.status, 'new') in ('new', 'investigating', 'approved', 'auto_resolved')
"""

# Every correction of the finding is billed and paid, and nothing of the leak is left.
_RECOVERED = """
    select
        recovered.detection_id,
        'Recovered ' || trim_scale(sum(recovered.recovered_amount)) || ' '
        || upper(min(recovered.currency)) || ' by '
        || string_agg(distinct recovered.invoice_id, ', ' order by recovered.invoice_id)
    from marts.fct_revenue_recovered as recovered
    inner join ops.detection_state as state on recovered.detection_id = state.detection_id
    where state.status = 'actioned'
        and not exists (
            select 1 from marts.fct_leakage_detections as found
            where found.detection_id = recovered.detection_id
        )
    group by recovered.detection_id
    having bool_and(recovered.billed_at is not null and recovered.outstanding_amount <= 0)
        and sum(recovered.recovered_amount) > 0
"""

# What was billed too much is given back, as Stripe's credit notes show, and nothing of it is left.
_CORRECTED = """
    select
        corrected.detection_id,
        'Corrected ' || trim_scale(sum(corrected.corrected_amount)) || ' '
        || upper(min(corrected.currency)) || ' that was billed too much'
        || coalesce(' by ' || string_agg(
            distinct corrected.credit_note_id, ', ' order by corrected.credit_note_id
        ), '')
    from marts.fct_overbilling_corrected as corrected
    inner join ops.detection_state as state on corrected.detection_id = state.detection_id
    where state.status = 'actioned'
        and not exists (
            select 1 from marts.fct_leakage_detections as found
            where found.detection_id = corrected.detection_id
        )
    group by corrected.detection_id
    having bool_and(corrected.corrected_amount > 0)
"""


@dataclass(frozen=True)
class Outcomes:
    """How many findings changed their state."""

    actioned: int
    recovered: int


def settle_findings(conn: Connection, as_of: datetime) -> Outcomes:
    """Move findings to actioned and recovered, each with its entry in the audit log.

    Args:
        conn: Warehouse connection, after an audit.
        as_of: The audit's instant.
    """
    with conn, conn.cursor() as cursor:
        cursor.execute(_ACTIONED)
        actioned = [row[0] for row in cursor.fetchall()]
    for detection_id in actioned:
        decisions.actioned(conn, detection_id, by=RECOVERY, at=as_of)
    with conn, conn.cursor() as cursor:
        cursor.execute(_RECOVERED)
        recovered = cursor.fetchall()
        cursor.execute(_CORRECTED)
        recovered += cursor.fetchall()
    for detection_id, evidence in recovered:
        decisions.recovered(conn, detection_id, evidence, by=RECOVERY, at=as_of)
    return Outcomes(len(actioned), len(recovered))
