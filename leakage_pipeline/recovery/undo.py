"""Takes back what was sent, where Stripe still lets one.

An item that is not billed yet, a fresh event, a credit note that only lowered an open invoice.
"""

from datetime import datetime, timedelta

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.recovery import credit_notes, ledger
from leakage_pipeline.recovery.ledger import Action, Refused
from leakage_pipeline.recovery.outcome_errors import RefusedError
from leakage_pipeline.recovery.stripe_writer import StripeWriter

CANCELLABLE = timedelta(hours=23)
"""Stripe cancels an event within a day of receiving it; a margin is left."""


def undo(
    conn: Connection, writer: StripeWriter | None, action: Action, reason: str, *, by: str,
    at: datetime,
) -> None:  # fmt: skip
    """Take an action back, whatever its state allows.

    Args:
        conn: Warehouse connection.
        writer: Write access to Stripe; not needed for what was not sent.
        action: The action as the ledger has it.
        reason: Why; stands in the audit log.
        by: An approver.
        at: The present instant.

    Raises:
        Refused: The person is no approver, or it cannot be taken back any more.
    """
    ledger.insist_on_approver(conn, by)
    if action.status in {"planned", "approved", "failed"}:
        ledger.withdraw(conn, action.action_id, reason, by=by, at=at)
        return
    if action.status != "confirmed" or writer is None:
        message = f"{action.action_id} is {action.status} and cannot be taken back"
        raise Refused(message)
    if action.action == "invoice_item":
        _delete_item(writer, action)
    elif action.action == "meter_event":
        _cancel_events(writer, action, at)
    elif action.action == "credit_note":
        credit_notes.void(writer, action)
    else:
        message = f"a {action.action.replace('_', ' ')} cannot be taken back"
        raise Refused(message)
    ledger.reverted(conn, action.action_id, reason, by=by, at=at)


def _delete_item(writer: StripeWriter, action: Action) -> None:
    """Delete the item while it waits; one that is gone already is as good."""
    items = writer.every("/v1/invoiceitems", {"customer": action.customer_id})
    item = next((each for each in items if each["id"] == action.remote_id), None)
    if item is None:
        return
    if item.get("invoice") is not None:
        message = (
            f"{action.remote_id} is on invoice {item['invoice']} already: delete it from the "
            "draft, or issue a credit note once it is final"
        )
        raise Refused(message)
    try:
        writer.delete(f"/v1/invoiceitems/{action.remote_id}")
    except RefusedError as refused:
        raise Refused(str(refused)) from None


def _cancel_events(writer: StripeWriter, action: Action, at: datetime) -> None:
    if action.sent_at is None or at - action.sent_at > CANCELLABLE:
        message = "Stripe cancels an event within a day only; report the difference by hand"
        raise Refused(message)
    for request in action.request:
        params = request["params"]
        try:
            writer.post(
                "/v1/billing/meter_event_adjustments",
                {
                    "event_name": params["event_name"],
                    "type": "cancel",
                    "cancel": {"identifier": params["identifier"]},
                },
                f"{request['idempotency_key']}-cancel",
            )
        except RefusedError as refused:
            raise Refused(str(refused)) from None
