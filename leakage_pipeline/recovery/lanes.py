"""All lanes together: what an audit plans, and who delivers what is no correction of a bill.

Corrections of bills are planned in `corrections` and sent in `sending`; each other lane is one
module.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.recovery import subscription_changes
from leakage_pipeline.recovery.corrections import plan_corrections
from leakage_pipeline.recovery.crm import DEALS, deliver, plan_deals, receiver_from
from leakage_pipeline.recovery.ledger import Action
from leakage_pipeline.recovery.messages import MESSAGES, Outbox, plan_messages
from leakage_pipeline.recovery.planning import Plan
from leakage_pipeline.recovery.stripe_writer import StripeWriter
from leakage_pipeline.settings import Settings
from leakage_pipeline.warehouse import ops

Deliver = Callable[[Connection, Action, datetime], str]
"""Brings an action to its receiver at most once, and says how it went."""


@dataclass(frozen=True)
class Plans:
    """What stands planned after an audit, by kind."""

    corrections: Plan
    deals: int
    messages: int
    subscription_changes: int


def plan_all(conn: Connection, settings: Settings, as_of: datetime) -> Plans:
    """Plan every lane from the newest audit.

    Args:
        conn: Warehouse connection, after an audit; committed.
        settings: The policy says what is wanted.
        as_of: The audit's instant.
    """
    ops.create(conn)
    return Plans(
        corrections=plan_corrections(conn, settings.policy, as_of),
        deals=plan_deals(conn, settings, as_of),
        messages=plan_messages(conn, settings, as_of),
        subscription_changes=subscription_changes.plan_changes(conn, settings.policy, as_of),
    )


def deliveries(settings: Settings, writer: StripeWriter) -> dict[str, Deliver]:
    """Who delivers which action.

    Raises:
        ConfigurationError: The CRM's token is not set.
    """
    outbox = Outbox(settings)
    found: dict[str, Deliver] = dict.fromkeys(MESSAGES, outbox.deliver)
    found[subscription_changes.CHANGE] = lambda conn, action, now: subscription_changes.settle(
        conn, writer, action, now
    )
    receiver = receiver_from(settings)
    if receiver is not None:
        found |= dict.fromkeys(
            DEALS, lambda conn, action, now: deliver(conn, receiver, action, now)
        )
    return found
