"""Messages in the ledger: mails to customers, Slack messages to the team that has to act.

A mail cannot be looked up at its receiver: one that may have left is a person's, never sent again.
Slack messages go out through the digest's own ledger. Addresses are read when a mail leaves.
"""

import json
import os
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.classification.finding_types import ONE_OFF_TYPES
from leakage_pipeline.classification.schema import ACTIONS, NextAction
from leakage_pipeline.failures import ConfigurationError, PermanentFailure, TransientFailure
from leakage_pipeline.publishing import mail
from leakage_pipeline.publishing.ledger import NotSentError, UnconfirmedError
from leakage_pipeline.publishing.slack_message import SlackMessage, section
from leakage_pipeline.publishing.slack_sender import SlackPoster, main_channel, target_for
from leakage_pipeline.recovery import ledger
from leakage_pipeline.recovery.ledger import Action
from leakage_pipeline.recovery.planning import Lane, plan_lane
from leakage_pipeline.settings import Settings

MAIL, SLACK = "customer_email", "slack_message"
MESSAGES = (MAIL, SLACK)
OUTBOX = "outbox"
"""Folder in LEAKAGE_HOME for mails that somebody sends from a mail program."""
_DAY = timedelta(days=1)
_MAIL_SPAN = timedelta(days=31)
# A release holds for the words that were shown.
_LANE = Lane(MESSAGES, "messages.sql", release_stays=False)


def plan_messages(conn: Connection, settings: Settings, as_of: datetime) -> int:
    """Plan what the newest audit's advice calls for, and withdraw the rest; gives how many stand.

    Args:
        conn: Warehouse connection, after classification; committed at the end.
        settings: `policy.messages` says which messages are wanted at all.
        as_of: The audit's instant.
    """
    wanted, mode = settings.policy.messages, settings.policy.action_mode
    if mode == "off":
        return 0
    channels = settings.policy.slack.channels
    owners = {
        action.value: {
            "channel": channels.get(text.owner.value, main_channel(settings)),
            "label": text.label,
        }
        for action, text in ACTIONS.items()
        if action is not NextAction.NO_ACTION
    }
    plan = plan_lane(
        conn,
        _LANE,
        mode,
        as_of,
        mails=wanted.customers != "off",
        teams=wanted.teams,
        one_off=sorted(ONE_OFF_TYPES),
        owners=json.dumps(owners),
    )
    return plan.planned


def smtp_url(settings: Settings) -> str:
    """The mail server that `policy.messages.customers: smtp` needs.

    Raises:
        ConfigurationError: It is not set.
    """
    url = settings.environment.smtp_url
    if url is None:
        message = "environment: policy.messages.customers is smtp and SMTP_URL is not set"
        raise ConfigurationError(message)
    return url.get_secret_value()


class Outbox:
    """Delivers messages, each at most once.

    Args:
        settings: `policy.messages`, SMTP_URL, SLACK_BOT_TOKEN.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._policy = settings.policy.messages

    def deliver(self, conn: Connection, action: Action, now: datetime) -> str:
        """Send one message that is released, or settle one that may have left, and say how it went.

        Raises:
            ConfigurationError: The message needs an address or a token that is not set.
        """
        if action.status != "sent" and (reason := self._over_cap(conn, action, now)) is not None:
            return f"waits: {reason}"
        return (self._post if action.action == SLACK else self._mail)(conn, action, now)

    def _mail(self, conn: Connection, action: Action, now: datetime) -> str:
        """Send a mail that is released; of one that may have left, only the draft again."""
        if action.status == "sent":
            if self._policy.customers == "export":
                return self._send(conn, action, now)  # the same file again
            reason = "it may have left: ask the customer, or look into the mail server's log"
            ledger.doubt(conn, action.action_id, reason, needs_person=True)
            return f"for a person: {reason}"
        if self._policy.customers == "off":
            return "waits: policy.messages.customers is off"
        if not ledger.claim(conn, action, by=ledger.AUTO, at=now):
            return "waits: it was changed meanwhile"
        return self._send(conn, action, now)

    def _send(self, conn: Connection, action: Action, now: datetime) -> str:
        """Hand a mail over that the ledger has as sent."""
        address = _address(conn, action)
        if address is None:
            ledger.fail(conn, action.action_id, "the customer has no mail address", at=now)
            return "failed: the customer has no mail address"
        letter = self._letter(action, address, now)
        if self._policy.customers == "export":
            path = self._export(action, letter)
            ledger.confirm(conn, action.action_id, str(path.name), at=now)
            return f"written to {path}"
        try:
            remote_id = mail.hand_over(smtp_url(self._settings), letter)
        except ConfigurationError as error:
            ledger.put_back(conn, action.action_id, str(error), at=now)
            raise
        except mail.PutOffError as later:
            ledger.put_back(conn, action.action_id, str(later), at=now)
            return f"waits: {later}"
        except NotSentError as refused:
            ledger.fail(conn, action.action_id, str(refused), at=now)
            return f"failed: {refused}"
        except UnconfirmedError:
            reason = "the mail server did not confirm, so it may have left: ask the customer"
            ledger.doubt(conn, action.action_id, reason, needs_person=True)
            return f"for a person: {reason}"
        ledger.confirm(conn, action.action_id, remote_id, at=now)
        return "sent"

    def _letter(self, action: Action, address: str, now: datetime) -> EmailMessage:
        params = action.request[0]["params"]
        letter = EmailMessage()
        letter["Subject"] = " ".join(str(params["subject"]).split())
        sender = self._policy.sender
        if sender is not None:
            letter["From"] = sender
            letter["Message-ID"] = f"<{action.action_id}@{sender.rpartition('@')[2]}>"
        letter["To"] = address
        letter["Date"] = format_datetime(now.astimezone(UTC))
        letter.set_content(f"{params['text']}\n")
        return letter

    def _export(self, action: Action, letter: EmailMessage) -> Path:
        """Write the mail as a draft that mail programs open; only the owner may read it."""
        folder = self._settings.home / OUTBOX
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        letter["X-Unsent"] = "1"
        path = folder / f"{action.action_id}.eml"
        partial = path.with_suffix(".part")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            out.write(letter.as_bytes())
        partial.replace(path)
        return path

    def _post(self, conn: Connection, action: Action, now: datetime) -> str:
        poster = SlackPoster(conn, self._settings, now)
        if not poster.may_post:
            return "waits: SLACK_BOT_TOKEN is not set"
        if action.status == "sent":
            ledger.tried_again(conn, action.action_id)
        elif not ledger.claim(conn, action, by=ledger.AUTO, at=now):
            return "waits: it was changed meanwhile"
        params = action.request[0]["params"]
        message = SlackMessage(params["text"], [section(params["text"])])
        target = target_for(self._settings, params["channel"])
        try:
            outcome = poster.post(target, f"action/{action.action_id}", message)
        except PermanentFailure as refused:
            ledger.fail(conn, action.action_id, str(refused), at=now)
            return f"failed: {refused}"
        except TransientFailure as unknown:
            # The next run looks it up in the channel before it posts again.
            ledger.doubt(conn, action.action_id, str(unknown), needs_person=False)
            return f"open: {unknown}"
        ledger.confirm(conn, action.action_id, outcome.remote_id, at=now)
        return "sent" if outcome.sent else "had arrived"

    def _over_cap(self, conn: Connection, action: Action, now: datetime) -> str | None:
        limits = self._settings.policy.action_limits
        if _sent(conn, list(MESSAGES), now - _DAY, None) >= limits.messages_per_day:
            return f"the cap of messages per day is reached ({limits.messages_per_day})"
        if action.action == MAIL:
            sent = _sent(conn, [MAIL], now - _MAIL_SPAN, action.customer_id)
            if sent >= limits.mails_per_customer:
                return f"the customer had {sent} mails in 31 days"
        return None


def _address(conn: Connection, action: Action) -> str | None:
    """The one address that Stripe has, when it is one: headers take nothing else."""
    with conn.cursor() as cursor:
        cursor.execute(
            "select email from marts.dim_customers where customer_id = %s", (action.customer_id,)
        )
        row: Any = cursor.fetchone()
    conn.commit()
    text = str(row[0] or "").strip() if row else ""
    is_one = text.count("@") == 1 and not any(sign in text for sign in '\r\n,;<>" ')
    return text if is_one else None


def _sent(conn: Connection, actions: list[str], since: datetime, customer_id: str | None) -> int:
    with conn.cursor() as cursor:
        cursor.execute(
            "select count(*) from ops.recovery_actions where action = any(%(actions)s)"
            " and sent_at > %(since)s"
            " and (%(customer)s::text is null or customer_id = %(customer)s)",
            {"actions": actions, "since": since, "customer": customer_id},
        )
        (count,) = cursor.fetchone() or (0,)
    conn.commit()
    return int(count)
