"""The lane of overbilling: a credit note on the invoice that billed too much.

Stripe has no draft of a credit note, but a preview: what it says has to be what was planned, else
a person decides. A note that may have been issued is looked for among the invoice's notes.
"""

from leakage_pipeline.recovery.found import Found
from leakage_pipeline.recovery.ledger import Action, Json, Refused
from leakage_pipeline.recovery.outcome_errors import RefusedError
from leakage_pipeline.recovery.stripe_writer import StripeWriter

NOTES = "/v1/credit_notes"
PREVIEW = f"{NOTES}/preview"
_CREDITABLE = {"open", "paid"}


def find(writer: StripeWriter, action: Action) -> Found:
    """Our note by the id in its metadata, or one that may be about the same."""
    params = action.request[0]["params"]
    audited = int(action.updated_at.timestamp())
    reason = ""
    for note in writer.every(NOTES, {"invoice": params["invoice"]}):
        metadata = note.get("metadata") or {}
        if metadata.get("leakage_action") == action.action_id:
            if note["status"] == "void":
                return Found("unclear", reason=f"{note['id']} was issued and is void")
            return Found("there", str(note["id"]))
        if note["status"] == "void":
            continue
        if metadata.get("leakage_detection") == action.detection_id:
            reason = f"a credit note about this finding is there already: {note['id']}"
        elif "leakage_action" not in metadata and note["created"] >= audited:
            reason = reason or f"somebody has credited the invoice since the audit: {note['id']}"
    return Found("unclear", reason=reason) if reason else Found("absent")


def objection(writer: StripeWriter, action: Action) -> str | None:
    """Why the note does not fit the invoice as it is now; None when it does.

    Raises:
        RefusedError: Stripe would not take it; the text says why.
    """
    params = action.request[0]["params"]
    invoice = writer.get(f"/v1/invoices/{params['invoice']}")
    if (invoice["customer"], invoice["currency"]) != (action.customer_id, action.currency):
        return "the invoice is another customer's, or in another currency"
    if invoice["status"] not in _CREDITABLE:
        return f"the invoice {invoice['id']} is {invoice['status']} now"
    if invoice["amount_remaining"] != action.before["remaining"]:
        return "the invoice was paid or credited since the audit: the next one plans it anew"
    return _difference(writer.get(PREVIEW, params), action)


def _difference(preview: Json, action: Action) -> str | None:
    """What Stripe would do, held against what was released: to the minor unit, or not at all."""
    params = action.request[0]["params"]
    taxed = sum(
        int(tax["amount"])
        for tax in preview.get("total_taxes") or ()
        if tax["tax_behavior"] == "exclusive"
    )
    seen = (
        preview["total"] - taxed,
        preview["total"],
        preview["post_payment_amount"],
    )
    planned = (
        action.before["credit_net"],
        action.before["credit_total"],
        params.get("credit_amount", 0) + params.get("refund_amount", 0),
    )
    if seen == planned:
        return None
    return (
        "Stripe's preview of the note differs: it would take off {} without tax, {} with it, and "
        "give {} back, where {}, {} and {} are planned (minor units)".format(*seen, *planned)
    )


def void(writer: StripeWriter, action: Action) -> None:
    """Take a note back that has only lowered what an open invoice asks for.

    Raises:
        Refused: It gave money back, or the invoice is open no more.
    """
    try:
        writer.post(f"{NOTES}/{action.remote_id}/void", {}, f"{action.action_id}-void")
    except RefusedError as refused:
        message = f"Stripe does not void {action.remote_id}: {refused}"
        raise Refused(message) from None
