"""Sends a mail through the ledger: once, and never again when nobody knows whether it arrived.

A mail cannot be looked up at its receivers. One whose confirmation was lost stays unconfirmed until
a person has asked them. The Message-ID comes from the key: mail readers show a repeat only once.
"""

import contextlib
import hashlib
import smtplib
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.failures import ConfigurationError, PermanentFailure, TransientFailure
from leakage_pipeline.publishing.ledger import (
    NotSentError,
    Publication,
    UnconfirmedError,
    publish_once,
)
from leakage_pipeline.settings import Settings

RECIPIENTS_VARIABLE = "REPORT_RECIPIENTS"
SENDER_VARIABLE = "REPORT_SENDER"
_TIMEOUT_SECONDS = 60
_SECURE = "smtps"
_PORTS = {"smtp": 587, _SECURE: 465}
_PERMANENT = 500


@dataclass(frozen=True)
class Mail:
    """What a mail says. `images` are shown where the HTML names `cid:<key>`."""

    subject: str
    html: str
    text: str
    images: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class MailResult:
    """What became of a mail."""

    sent: bool
    note: str
    recipients: tuple[str, ...]


class PutOffError(NotSentError):
    """Not sent for certain, and worth another try."""


@dataclass(frozen=True)
class _Server:
    host: str
    port: int
    secure: bool
    user: str | None
    password: str | None


def send_mail_once(
    conn: Connection,
    settings: Settings,
    as_of: datetime,
    key: str,
    mail: Mail,
    attachments: Sequence[Path],
) -> MailResult:
    """Send the mail unless the ledger says that it is out already.

    Args:
        conn: Warehouse connection, for the ledger.
        settings: SMTP_URL, REPORT_RECIPIENTS (comma separated), REPORT_SENDER.
        as_of: Stands in the mail's date; the clock is not read.
        key: What makes it the same mail, such as `weekly/2026-W47`.
        mail: Subject and body.
        attachments: Files to attach.

    Raises:
        ConfigurationError: An address or SMTP_URL is no such thing.
        PermanentFailure: The server refused it.
        TransientFailure: The server could not be reached, or did not confirm; in the second case
            the message says what to do.
    """
    recipients = _recipients(settings)
    url = settings.environment.smtp_url
    if url is None or not recipients:
        missing = "SMTP_URL" if url is None else RECIPIENTS_VARIABLE
        return MailResult(sent=False, note=f"No {missing}: not mailed.", recipients=recipients)
    server = _server(url.get_secret_value())
    sender = _sender(settings, server)
    message = _message(key, mail, sender, recipients, as_of, attachments)
    digest = hashlib.sha256(f"{mail.subject}\n{mail.html}".encode()).hexdigest()
    publication = Publication(", ".join(recipients), f"mail/{key}", digest)
    try:
        outcome = publish_once(
            conn,
            publication,
            as_of,
            send=lambda: _send(server, message),
            find=lambda: _unknown(key),
        )
    except PutOffError as error:
        raise TransientFailure(str(error)) from None
    except NotSentError as error:
        raise PermanentFailure(str(error)) from None
    except UnconfirmedError as error:
        raise TransientFailure(str(error)) from None
    return MailResult(sent=outcome.sent, note=outcome.note, recipients=recipients)


def hand_over(url: str, message: EmailMessage) -> str:
    """Give one finished mail to the server, and return its Message-ID.

    Raises:
        ConfigurationError: The URL is no such thing.
        PutOffError: Not taken this time.
        NotSentError: Refused for certain.
        UnconfirmedError: It may have arrived.
    """
    return _send(_server(url), message)


def host_of(url: str) -> str:
    """The mail server that a URL names, without its password.

    Raises:
        ConfigurationError: The URL is no such thing.
    """
    server = _server(url)
    return f"{server.host}:{server.port}"


def _recipients(settings: Settings) -> tuple[str, ...]:
    listed = settings.environment.variables.get(RECIPIENTS_VARIABLE, "")
    return tuple(_address(part, RECIPIENTS_VARIABLE) for part in listed.split(",") if part.strip())


def _sender(settings: Settings, server: _Server) -> str:
    stated = settings.environment.variables.get(SENDER_VARIABLE) or server.user or ""
    return _address(stated, SENDER_VARIABLE)


def _address(text: str, variable: str) -> str:
    _, address = parseaddr(text.strip())
    if "@" not in address or any(sign in text for sign in "\r\n"):
        message = f"environment: {variable} must hold mail addresses such as finance@example.com"
        raise ConfigurationError(message)
    return address


def _server(url: str) -> _Server:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        message = (
            "environment: SMTP_URL must look like smtp://user:password@host:port; "
            "smtps:// speaks TLS from the start"
        )
        raise ConfigurationError(message)
    return _Server(
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        secure=parts.scheme == _SECURE,
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )


def _message(
    key: str,
    mail: Mail,
    sender: str,
    recipients: Sequence[str],
    as_of: datetime,
    attachments: Sequence[Path],
) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = " ".join(mail.subject.split())
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Date"] = format_datetime(as_of.astimezone(UTC))
    unique = hashlib.sha256(key.encode()).hexdigest()[:32]
    message["Message-ID"] = f"<{unique}@{sender.rpartition('@')[2]}>"
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    (_, html) = message.iter_parts()
    for name, image in mail.images.items():
        html.add_related(image, maintype="image", subtype="png", cid=f"<{name}>")
    for path in attachments:
        subtype = "csv" if path.suffix == ".csv" else "html"
        message.add_attachment(
            path.read_text(encoding="utf-8"), subtype=subtype, filename=path.name
        )
    return message


def _send(server: _Server, message: EmailMessage) -> str:
    """Hand the mail over; what fails before its content was sent has certainly not arrived."""
    try:
        connection = _connected(server)
    except smtplib.SMTPAuthenticationError:
        refused = "the mail server refused the user or password of SMTP_URL"
        raise NotSentError(refused) from None
    except (OSError, smtplib.SMTPException):
        unreachable = f"the mail server {server.host} could not be reached; check SMTP_URL"
        raise PutOffError(unreachable) from None
    try:
        refused_by = connection.send_message(message)
    except (smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused) as error:
        raise _envelope_error(error) from None
    except smtplib.SMTPDataError as error:
        raise _data_error(error) from None
    except (OSError, smtplib.SMTPException):
        if not connection.content_begun:
            cut = f"the mail server {server.host} broke off before it took the mail"
            raise PutOffError(cut) from None
        raise UnconfirmedError(_unconfirmed_text("the mail server did not confirm")) from None
    finally:
        # The mail's fate is known by now; how the server takes its leave changes nothing.
        with contextlib.suppress(OSError, smtplib.SMTPException):
            connection.quit()
    if refused_by:
        # Most have it: sending again would reach them twice.
        return f"{message['Message-ID']} (not to {', '.join(sorted(refused_by))})"
    return str(message["Message-ID"])


class _Watched(smtplib.SMTP):
    """Remembers whether the mail's content was begun: until then nothing can have arrived."""

    content_begun = False

    def data(self, msg: Any) -> Any:
        """Send the content."""
        self.content_begun = True
        return super().data(msg)


class _WatchedSecure(_Watched, smtplib.SMTP_SSL):
    """The same over TLS from the start."""


def _connected(server: _Server) -> _Watched:
    context = ssl.create_default_context()
    connection: _Watched
    if server.secure:
        connection = _WatchedSecure(
            server.host, server.port, timeout=_TIMEOUT_SECONDS, context=context
        )
    else:
        connection = _Watched(server.host, server.port, timeout=_TIMEOUT_SECONDS)
        connection.ehlo()
        if connection.has_extn("starttls"):
            connection.starttls(context=context)
            connection.ehlo()
    if server.user:
        connection.login(server.user, server.password or "")
    return connection


def _envelope_error(
    error: smtplib.SMTPRecipientsRefused | smtplib.SMTPSenderRefused,
) -> NotSentError:
    """Tell a server that says later, such as one that greylists, from one that says no."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in error.recipients.values()]
        who = "every recipient"
    else:
        codes, who = [error.smtp_code], "the sender"
    if all(code < _PERMANENT for code in codes):
        return PutOffError(f"the mail server put {who} off ({codes[0]})")
    return NotSentError(f"the mail server refused {who}")


def _data_error(error: smtplib.SMTPDataError) -> Exception:
    if error.smtp_code >= _PERMANENT:
        return NotSentError(f"the mail server refused the mail ({error.smtp_code})")
    return PutOffError(f"the mail server put the mail off ({error.smtp_code})")


def _unknown(key: str) -> str | None:
    raise UnconfirmedError(_unconfirmed_text(f"the mail {key} was never confirmed"))


def _unconfirmed_text(what: str) -> str:
    return (
        f"{what}, so it may have arrived: ask a recipient. If it did not, delete its row in "
        "ops.publications and run the report again; it is not sent twice by itself"
    )
