"""What holds sending back besides the actions themselves: caps, the audit's age, earlier stops."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.failures import PermanentFailure
from leakage_pipeline.recovery.ledger import Action
from leakage_pipeline.recovery.limits import ActionLimits

CUSTOMER_SPAN = timedelta(days=31)
DAY = timedelta(days=1)
LEAST_TRIES = 3
"""Before so many requests an error rate says nothing."""
_HUNDRED = Decimal(100)


class Stopped(PermanentFailure):
    """Sending has stopped; the text says why and what to do."""


@dataclass
class Tally:
    """What a run has done so far; `spent` in the reporting currency."""

    spent: Decimal = Decimal(0)
    tries: int = 0
    failures: int = 0

    def exceeds(self, limits: ActionLimits) -> bool:
        """Whether too many of the run's requests fail."""
        return (
            self.tries >= LEAST_TRIES and self.failures * _HUNDRED > limits.error_pct * self.tries
        )


def newest_plan(conn: Connection, limits: ActionLimits, now: datetime) -> datetime:
    """The newest audit's instant, when it is new enough to act on.

    Raises:
        Stopped: There is no audit, or it is too old.
    """
    with conn.cursor() as cursor:
        cursor.execute("select as_of from raw_business.audit_settings")
        row = cursor.fetchone()
    conn.commit()
    if row is None:
        message = "no audit has run yet"
        raise Stopped(message)
    as_of: datetime = row[0]
    if as_of < now - timedelta(hours=limits.audit_age_hours):
        message = (
            f"the newest audit is of {as_of:%Y-%m-%d %H:%M} UTC, older than "
            f"policy.action_limits.audit_age_hours ({limits.audit_age_hours}); run an audit first"
        )
        raise Stopped(message)
    return as_of


def refuse_while_stopped(conn: Connection) -> None:
    """Raise while an earlier stop was not cleared.

    Raises:
        Stopped: With its reason.
    """
    with conn.cursor() as cursor:
        cursor.execute(
            "select stopped_at, reason from ops.recovery_stops where cleared_at is null"
            " order by stopped_at limit 1"
        )
        row = cursor.fetchone()
    conn.commit()
    if row is not None:
        message = (
            f"sending stopped by itself at {row[0]:%Y-%m-%d %H:%M} UTC: {row[1]}; when that is "
            "mended, leakage actions resume"
        )
        raise Stopped(message)


def stop(conn: Connection, reason: str, at: datetime) -> None:
    """Let nothing more be sent until a person clears it."""
    with conn, conn.cursor() as cursor:
        cursor.execute(
            "insert into ops.recovery_stops (stopped_at, reason) values (%s, %s)"
            " on conflict (stopped_at) do nothing",
            (at, reason),
        )


def clear(conn: Connection, *, by: str, at: datetime) -> int:
    """Let sending go on; gives how many stops were cleared."""
    with conn, conn.cursor() as cursor:
        cursor.execute(
            "update ops.recovery_stops set cleared_by = %s, cleared_at = %s"
            " where cleared_at is null",
            (by, at),
        )
        count = cursor.rowcount
        if count:
            cursor.execute(
                "insert into ops.audit_log (actor, action, subject, before, after, at)"
                " values (%s, 'recovery_resumed', 'recovery', null, null, %s)",
                (by, at),
            )
    return int(count)


def over_customer_cap(
    conn: Connection, action: Action, limits: ActionLimits, now: datetime
) -> str | None:
    """Why this customer gets nothing more for now; None when there is room."""
    spent = _spent(conn, now - CUSTOMER_SPAN, action.customer_id)
    if spent + _size(action) <= limits.per_customer:
        return None
    return f"over the cap per customer ({limits.per_customer:f} in 31 days)"


def over_run_or_day_cap(
    conn: Connection, action: Action, limits: ActionLimits, tally: Tally, now: datetime
) -> str | None:
    """Why the run ends before this action; None when there is room."""
    if tally.spent + _size(action) > limits.per_run:
        return f"the cap per run is reached ({limits.per_run:f})"
    if _spent(conn, now - DAY, None) + _size(action) > limits.per_day:
        return f"the cap per day is reached ({limits.per_day:f})"
    return None


def _size(action: Action) -> Decimal:
    return abs(action.reporting_amount or Decimal(0))


def _spent(conn: Connection, since: datetime, customer_id: str | None) -> Decimal:
    """What was sent since then, about one customer or all; what was refused for certain is not."""
    with conn.cursor() as cursor:
        cursor.execute(
            "select coalesce(sum(abs(reporting_amount)), 0) from ops.recovery_actions"
            " where sent_at > %(since)s and (%(customer)s is null or customer_id = %(customer)s)",
            {"since": since, "customer": customer_id},
        )
        (spent,) = cursor.fetchone() or (Decimal(0),)
    conn.commit()
    return Decimal(spent)
