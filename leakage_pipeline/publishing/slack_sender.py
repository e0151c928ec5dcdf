"""Posts the digest to Slack once, through the ledger, and writes it beside the report in any case.

Only a rate limit is tried again at once: after a lost answer the message may already be there.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import URLError

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler

from leakage_pipeline.failures import PermanentFailure, TransientFailure, is_transient_status
from leakage_pipeline.publishing.files import reports_folder, write_text
from leakage_pipeline.publishing.ledger import (
    NotSentError,
    Publication,
    UnconfirmedError,
    publish_once,
)
from leakage_pipeline.publishing.slack_message import SlackMessage
from leakage_pipeline.settings import Settings

DEFAULT_CHANNEL = "#revenue-leakage"
CHANNEL_VARIABLE = "SLACK_CHANNEL"
_EVENT_TYPE = "leakage_digest"
_TIMEOUT_SECONDS = 30
_RATE_LIMIT_RETRIES = 3
_HISTORY = 100
_ERROR_CODE = re.compile(r"[a-z_]{2,60}")
_CHANNEL_ID = re.compile(r"[CGD][A-Z0-9]{6,}")
# What the SDK raises over an answer that is JSON but none of Slack's.
_FOREIGN = (AttributeError, TypeError, ValueError)
# Slack says of these that a part of the work may have been done.
_MAY_HAVE_ARRIVED = frozenset({"internal_error", "fatal_error", "request_timeout"})


@dataclass(frozen=True)
class DigestResult:
    """What became of the digest, and where it can be read."""

    sent: bool
    note: str
    channel: str
    remote_id: str | None
    json_path: Path
    text_path: Path


def publish_digest(
    conn: Connection, settings: Settings, as_of: datetime, message: SlackMessage
) -> DigestResult:
    """Write the digest to files and, when there is a token, post it once a day.

    Args:
        conn: Warehouse connection, for the ledger.
        settings: Token, address and home folder. The channel is SLACK_CHANNEL's, else the default.
        as_of: The run's instant; its UTC day is the message's key, so a repeated run posts nothing.
        message: The composed digest.

    Raises:
        PermanentFailure: Slack refused it, for instance because the token was revoked.
        TransientFailure: Slack could not be reached, or did not confirm.
    """
    channel = settings.environment.variables.get(CHANNEL_VARIABLE) or DEFAULT_CHANNEL
    key = f"digest/{channel}/{as_of.astimezone(UTC):%Y-%m-%d}"
    metadata = {"event_type": _EVENT_TYPE, "event_payload": {"key": key}}
    body = message.as_json(channel, metadata)
    folder = reports_folder(settings.home)
    json_path = write_text(folder / "slack_digest.json", body)
    text_path = write_text(folder / "slack_digest.txt", message.as_text())
    token = settings.environment.slack_bot_token
    if token is None:
        note = "No SLACK_BOT_TOKEN: written to a file instead of posted."
        return DigestResult(
            sent=False,
            note=note,
            channel=channel,
            remote_id=None,
            json_path=json_path,
            text_path=text_path,
        )
    slack = _Slack(token.get_secret_value(), settings.environment.slack_api_base_url, channel)
    publication = Publication(channel, key, hashlib.sha256(body.encode()).hexdigest())
    try:
        outcome = publish_once(
            conn,
            publication,
            as_of,
            send=lambda: slack.post(message, metadata),
            find=lambda: slack.find(key),
        )
    except NotSentError as error:
        raise PermanentFailure(str(error)) from None
    except UnconfirmedError as error:
        raise TransientFailure(str(error)) from None
    return DigestResult(
        sent=outcome.sent,
        note=outcome.note,
        channel=channel,
        remote_id=outcome.remote_id,
        json_path=json_path,
        text_path=text_path,
    )


class _Slack:
    """The calls that publishing needs, with Slack's errors sorted into certain and uncertain."""

    def __init__(self, token: str, base_url: str | None, channel: str) -> None:
        # The SDK's default handlers repeat a request whose answer was lost: a second post.
        handlers = [RateLimitErrorRetryHandler(max_retry_count=_RATE_LIMIT_RETRIES)]
        self._client = WebClient(
            token=token,
            base_url=base_url or WebClient.BASE_URL,
            timeout=_TIMEOUT_SECONDS,
            retry_handlers=list(handlers),
        )
        self._channel = channel

    def post(self, message: SlackMessage, metadata: dict[str, Any]) -> str:
        """Post the message and return its timestamp, which is its id."""
        try:
            response = self._client.chat_postMessage(
                channel=self._channel,
                text=message.text,
                blocks=message.blocks,
                metadata=metadata,
                unfurl_links=False,
                unfurl_media=False,
            )
        except SlackApiError as error:
            raise self._refusal(error) from None
        except (URLError, OSError, SlackClientError, *_FOREIGN) as error:
            if _never_connected(error):
                message_text = "Slack could not be reached; check SLACK_API_BASE_URL"
                raise TransientFailure(message_text) from None
            raise self._unconfirmed() from None
        return str(response.get("ts"))

    def find(self, key: str) -> str | None:
        """Look for the message with this key among the channel's latest; None when it is not there.

        Raises:
            UnconfirmedError: Slack does not let us look.
        """
        try:
            channel = self._channel_id()
            if channel is None:
                raise self._unconfirmed()
            history = self._client.conversations_history(
                channel=channel, include_all_metadata=True, limit=_HISTORY
            )
        except (SlackClientError, URLError, OSError, *_FOREIGN):
            raise self._unconfirmed() from None
        for posted in history.get("messages") or []:
            payload = (posted.get("metadata") or {}).get("event_payload") or {}
            if payload.get("key") == key:
                return str(posted.get("ts"))
        return None

    def _channel_id(self) -> str | None:
        name = self._channel.removeprefix("#")
        if _CHANNEL_ID.fullmatch(name):
            return name
        pages = self._client.conversations_list(
            types="public_channel,private_channel", exclude_archived=True, limit=200
        )
        for page in pages:
            for channel in page.get("channels") or []:
                if channel.get("name") == name:
                    return str(channel.get("id"))
        return None

    def _refusal(self, error: SlackApiError) -> Exception:
        status = getattr(error.response, "status_code", 0) or 0
        code = _error_code(error.response)
        if _rate_limited(status):
            return TransientFailure("Slack's rate limit did not clear; the digest was not posted")
        # Without one of Slack's own error codes it was not Slack that answered.
        if not code or code in _MAY_HAVE_ARRIVED or is_transient_status(status):
            return self._unconfirmed()
        return NotSentError(
            f"Slack refused the digest for {self._channel}: {code}; check SLACK_BOT_TOKEN, its "
            "chat:write scope, and that the app is in the channel"
        )

    def _unconfirmed(self) -> UnconfirmedError:
        return UnconfirmedError(
            f"Slack did not confirm the digest for {self._channel}; the next try looks it up in "
            "the channel first (scopes channels:read, channels:history) and posts it if it is "
            "not there"
        )


def _error_code(response: object) -> str:
    data = response if isinstance(response, dict) else getattr(response, "data", None)
    code = str(data.get("error") or "") if isinstance(data, dict) else ""
    # The SDK puts a whole page that is no JSON where the code would be.
    return code if _ERROR_CODE.fullmatch(code) else ""


def _rate_limited(status: int) -> bool:
    too_many_requests = 429
    return status == too_many_requests


def _never_connected(error: BaseException) -> bool:
    reason = getattr(error, "reason", error)
    return isinstance(reason, ConnectionRefusedError) or type(reason).__name__ == "gaierror"
