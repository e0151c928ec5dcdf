"""Sends what may be sent, one action after the other, each at most once.

The ledger says `sent` before the request leaves. Who finds an action in that state and not
confirmed looks at Stripe first; what cannot be decided there waits for a person.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.failures import TransientFailure
from leakage_pipeline.policy import Policy
from leakage_pipeline.recovery import guards, ledger, live_checks
from leakage_pipeline.recovery.found import Found
from leakage_pipeline.recovery.lanes import Deliver
from leakage_pipeline.recovery.ledger import AUTO, Action
from leakage_pipeline.recovery.outcome_errors import (
    KeyRefusedError,
    NotSentError,
    RefusedError,
    UnknownOutcomeError,
)
from leakage_pipeline.recovery.stripe_writer import Json, StripeWriter
from leakage_pipeline.warehouse import ops

_LOCK = 7_215_003
STRIPE_REMEMBERS = timedelta(hours=23)
"""For how long Stripe surely knows an identifier or an idempotency key: a day, less a margin."""


PERSONS = ("credit_note", "customer_email", "subscription_change")
"""What only a person releases, whatever the mode: money that leaves, and words to a customer."""


@dataclass
class Report:
    """What a run did with each action, in words, and why it ended early if it did."""

    outcomes: list[tuple[Action, str]] = field(default_factory=list)
    stopped: str | None = None
    tally: guards.Tally = field(default_factory=guards.Tally)

    def note(self, action: Action, outcome: str) -> None:
        """Remember what became of an action."""
        self.outcomes.append((action, outcome))


def candidates(conn: Connection, policy: Policy, as_of: datetime) -> list[Action]:
    """What the mode lets leave: released by a person, or by the policy where it is sure enough.

    In mode dry_run these are what approving all would send. Held actions, and those that the newest
    audit did not plan, are never among them.
    """
    limits = policy.action_limits
    found = []
    for action in ledger.read(conn, ("planned", "approved")):
        is_released = action.status == "approved" and action.approved_by != AUTO
        is_sure = (
            action.confidence is not None
            and action.confidence >= limits.min_confidence
            and action.action not in PERSONS
        )
        wanted = (
            policy.action_mode == "dry_run"
            or is_released
            or (policy.action_mode == "auto" and is_sure)
        )
        if wanted and action.held_because is None and action.updated_at >= as_of:
            found.append(action)
    return found


def run(
    conn: Connection,
    policy: Policy,
    writer: StripeWriter,
    now: datetime,
    others: Mapping[str, Deliver] | None = None,
) -> Report:
    """Settle what an earlier run left open, then send what may be sent.

    Args:
        conn: Warehouse connection; committed around every request.
        policy: Mode, caps and limits. Only `approve` and `auto` send anything.
        writer: Write access to Stripe.
        now: The present instant.
        others: Who delivers what is no correction of a bill; what nobody does stays where it is.

    Raises:
        guards.Stopped: Nothing may be sent now.
        KeyRefusedError: The write key is not accepted; the action in hand waits.
        TransientFailure: Another run is under way.
    """
    report = Report()
    if policy.action_mode not in {"approve", "auto"}:
        report.stopped = f"policy.action_mode is {policy.action_mode}: nothing is sent"
        return report
    ops.create(conn)
    with _one_at_a_time(conn):
        guards.refuse_while_stopped(conn)
        as_of = guards.newest_plan(conn, policy.action_limits, now)
        for action in ledger.read(conn, ("sent",)):
            if action.is_money and action.held_because is None:
                _settle(conn, writer, action, now, report)
        for action in candidates(conn, policy, as_of):
            if action.is_money and not _next(conn, policy, writer, action, now, report):
                break
        if report.tally.exceeds(policy.action_limits):
            return report
        for action in (*ledger.read(conn, ("sent",)), *candidates(conn, policy, as_of)):
            deliver = (others or {}).get(action.action)
            if deliver is None or action.held_because is not None:
                continue
            if not _pass_on(conn, policy, deliver, action, now, report):
                break
    return report


def _next(
    conn: Connection,
    policy: Policy,
    writer: StripeWriter,
    action: Action,
    now: datetime,
    report: Report,
) -> bool:
    """Send one action if nothing stands against it; False ends the run."""
    limits, tally = policy.action_limits, report.tally
    if (reason := guards.over_run_or_day_cap(conn, action, limits, tally, now)) is not None:
        report.stopped = reason
        return False
    if (reason := guards.over_customer_cap(conn, action, limits, now)) is not None:
        report.note(action, f"waits: {reason}")
        return True
    if _is_dismissed(conn, action):
        report.note(action, "waits: the finding was dismissed")
        return True
    tally.tries += 1
    try:
        _send_new(conn, writer, action, now, report)
    except KeyRefusedError:
        raise
    except TransientFailure as failure:  # Stripe could not be read: nothing was sent
        tally.failures += 1
        report.note(action, f"waits: {failure}")
    if tally.exceeds(limits):
        report.stopped = f"{tally.failures} of {tally.tries} requests failed"
        guards.stop(conn, report.stopped, now)
        return False
    return True


def _pass_on(
    conn: Connection,
    policy: Policy,
    deliver: Deliver,
    action: Action,
    now: datetime,
    report: Report,
) -> bool:
    """Let an action that moves no money be delivered, unless its finding was dismissed.

    False ends the run: too many failed.
    """
    if action.status != "sent" and _is_dismissed(conn, action):
        report.note(action, "waits: the finding was dismissed")
        return True
    outcome = deliver(conn, action, now)
    report.note(action, outcome)
    report.tally.tries += 1
    report.tally.failures += outcome.startswith("failed")
    if report.tally.exceeds(policy.action_limits):
        report.stopped = f"{report.tally.failures} of {report.tally.tries} requests failed"
        guards.stop(conn, report.stopped, now)
        return False
    return True


def _send_new(
    conn: Connection, writer: StripeWriter, action: Action, now: datetime, report: Report
) -> None:
    """Look at Stripe, claim the action in the ledger, send it."""
    try:
        found = live_checks.find_sent(writer, action)
        reason = live_checks.objection(writer, action, now)
    except RefusedError as refused:
        found, reason = Found("absent"), str(refused)
    if found.state == "there" and action.action != "meter_event":
        # It carries our id, from before this ledger: taken over instead of sent.
        if ledger.claim(conn, action, by=AUTO, at=now):
            ledger.confirm(conn, action.action_id, found.remote_id, at=now)
            report.note(action, "was there already")
        return
    if found.state != "absent":
        reason = found.reason or "the meter has it already, by another hand"
    if reason is not None:
        ledger.doubt(conn, action.action_id, reason, needs_person=True)
        report.note(action, f"held: {reason}")
        return
    if not ledger.claim(conn, action, by=AUTO, at=now):
        report.note(action, "held: it was changed meanwhile, or its window has another lane")
        return
    report.tally.spent += abs(action.reporting_amount or Decimal(0))
    _transmit(conn, writer, action, now, report, is_new=True)


def _transmit(
    conn: Connection,
    writer: StripeWriter,
    action: Action,
    now: datetime,
    report: Report,
    *,
    is_new: bool,
) -> None:
    """Send the requests of an action that the ledger has as sent, and record what came of it.

    Only the first request of an action that was never tried can leave it surely undone.
    """
    answers: list[Json] = []
    try:
        for request in action.request:
            answers.append(  # noqa: PERF401 - what was answered before a failure counts
                writer.post(request["path"], request["params"], request["idempotency_key"])
            )
    except KeyRefusedError as refused:
        if is_new and not answers:
            ledger.put_back(conn, action.action_id, str(refused), at=now)
        raise
    except (RefusedError, NotSentError) as failure:
        report.tally.failures += 1
        if not is_new or answers:
            lasting = isinstance(failure, RefusedError)
            ledger.doubt(conn, action.action_id, str(failure), needs_person=lasting)
            report.note(action, f"{'for a person' if lasting else 'open'}: {failure}")
        elif isinstance(failure, RefusedError):
            ledger.fail(conn, action.action_id, str(failure), at=now)
            report.note(action, f"failed: {failure}")
        else:
            ledger.put_back(conn, action.action_id, str(failure), at=now)
            report.note(action, f"waits: {failure}")
        return
    except UnknownOutcomeError as unknown:
        report.tally.failures += 1
        ledger.doubt(conn, action.action_id, str(unknown), needs_person=False)
        report.note(action, f"open: {unknown}")
        return
    ledger.accepted(conn, action.action_id, {"answers": answers})
    _record_effect(conn, writer, action, answers, now, report)


def _record_effect(
    conn: Connection,
    writer: StripeWriter,
    action: Action,
    answers: list[Json],
    now: datetime,
    report: Report,
) -> None:
    """Confirm what is there; an event counts only when the meter shows it."""
    if action.action != "meter_event":
        ledger.confirm(conn, action.action_id, str(answers[0]["id"]), at=now)
        report.note(action, "sent")
        return
    try:
        found = live_checks.find_sent(writer, action)
    except (RefusedError, NotSentError):
        found = Found("absent")
    if found.state == "there":
        ledger.confirm(conn, action.action_id, None, at=now)
        report.note(action, "sent")
    else:
        report.note(action, "sent; the meter does not show it yet")


def _settle(
    conn: Connection, writer: StripeWriter, action: Action, now: datetime, report: Report
) -> None:
    """An action that was being sent when the process died, or whose effect did not show yet."""
    try:
        found = live_checks.find_sent(writer, action)
    except (RefusedError, NotSentError) as failure:
        report.note(action, f"open: {failure}")
        return
    if found.state == "there":
        ledger.confirm(conn, action.action_id, found.remote_id, at=now)
        report.note(action, "had arrived")
        return
    is_remembered = action.sent_at is not None and now - action.sent_at < STRIPE_REMEMBERS
    if found.state == "unclear" and not (is_remembered and action.action == "meter_event"):
        ledger.doubt(conn, action.action_id, found.reason, needs_person=True)
        report.note(action, f"for a person: {found.reason}")
        return
    if action.response is not None:
        if not is_remembered:
            reason = "Stripe took it a day ago and the meter never showed it"
            ledger.doubt(conn, action.action_id, reason, needs_person=True)
            report.note(action, f"for a person: {reason}")
        else:
            report.note(action, "sent; the meter does not show it yet")
        return
    try:
        reason_against = live_checks.objection(writer, action, now)
    except (RefusedError, NotSentError) as failure:
        report.note(action, f"open: {failure}")
        return
    if reason_against is not None:
        ledger.doubt(conn, action.action_id, reason_against, needs_person=True)
        report.note(action, f"for a person: {reason_against}")
        return
    # The same key and identifier: where Stripe still knows them, it carries nothing out twice.
    ledger.tried_again(conn, action.action_id)
    _transmit(conn, writer, action, now, report, is_new=False)


def _is_dismissed(conn: Connection, action: Action) -> bool:
    with conn.cursor() as cursor:
        cursor.execute(
            "select status in ('dismissed', 'written_off', 'recovered') from ops.detection_state"
            " where detection_id = %s",
            (action.detection_id,),
        )
        row = cursor.fetchone()
    conn.commit()
    return bool(row and row[0])


@contextmanager
def _one_at_a_time(conn: Connection) -> Iterator[None]:
    """Keep every other run off; the lock is gone with the session."""
    with conn.cursor() as cursor:
        cursor.execute("select pg_try_advisory_lock(%s)", (_LOCK,))
        (granted,) = cursor.fetchone() or (False,)
    conn.commit()
    if not granted:
        message = "another recovery run is under way; wait until it ends"
        raise TransientFailure(message)
    try:
        yield
    finally:
        conn.rollback()
        with conn.cursor() as cursor:
            cursor.execute("select pg_advisory_unlock(%s)", (_LOCK,))
        conn.commit()
