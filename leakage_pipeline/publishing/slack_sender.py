"""Posts to Slack, each message once, through the ledger; in test mode to one private channel.

Only a rate limit is tried again at once: after a lost answer the message may already be there.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPException
from typing import Any
from urllib.error import URLError

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler

from leakage_pipeline.failures import PermanentFailure, TransientFailure, is_transient_status
from leakage_pipeline.publishing.ledger import (
    NotSentError,
    Outcome,
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
_REPLIES = 1000
_ERROR_CODE = re.compile(r"[a-z_]{2,60}")
_CHANNEL_ID = re.compile(r"[CGD][A-Z0-9]{6,}")
# What the SDK raises over an answer that broke off, or is JSON but none of Slack's.
FOREIGN_ANSWER = (HTTPException, AttributeError, TypeError, ValueError)
# Slack says of these that a part of the work may have been done.
_MAY_HAVE_ARRIVED = frozenset({"internal_error", "fatal_error", "request_timeout"})


@dataclass(frozen=True)
class Target:
    """Where a message goes. In test mode that is one private channel, whatever it is meant for."""

    channel: str
    meant_for: str

    @property
    def name(self) -> str:
        """How the ledger knows it: what was posted in test mode is not posted for real."""
        if self.channel == self.meant_for:
            return self.channel
        return f"{self.channel} for {self.meant_for}"


def main_channel(settings: Settings) -> str:
    """The channel of the digest: the policy's, else SLACK_CHANNEL's, else the default."""
    return (
        settings.policy.slack.channel
        or settings.environment.variables.get(CHANNEL_VARIABLE)
        or DEFAULT_CHANNEL
    )


def target_for(settings: Settings, meant_for: str) -> Target:
    """Where a message for this channel really goes."""
    return Target(settings.policy.slack.test_channel or meant_for, meant_for)


class SlackPoster:
    """Posts messages once each, through the ledger.

    Args:
        conn: Warehouse connection, for the ledger.
        settings: Token and address; without a token nothing may be posted.
        as_of: The run's instant.
    """

    def __init__(self, conn: Connection, settings: Settings, as_of: datetime) -> None:
        token = settings.environment.slack_bot_token
        self._token = token.get_secret_value() if token else None
        self._base_url = settings.environment.slack_api_base_url
        self._conn = conn
        self._as_of = as_of

    @property
    def may_post(self) -> bool:
        """Whether there is a token."""
        return self._token is not None

    def post(
        self,
        target: Target,
        key: str,
        message: SlackMessage,
        *,
        thread_ts: str | None = None,
        broadcast: bool = False,
    ) -> Outcome:
        """Post a message unless the ledger says that it is out already.

        Args:
            target: Where to.
            key: What makes it the same message; the target's name is put before it.
            message: What it says.
            thread_ts: The message whose thread it belongs into.
            broadcast: Show an answer in the channel too.

        Raises:
            PermanentFailure: Slack refused it, for instance because the token was revoked.
            TransientFailure: Slack could not be reached, or did not confirm.
        """
        if self._token is None:
            return Outcome(sent=False, remote_id=None, note="No SLACK_BOT_TOKEN: not posted.")
        slack = _Slack(self._token, self._base_url, target.channel)
        kind, _, rest = key.partition("/")
        full_key = f"{kind}/{target.name}/{rest}"
        if target.channel != target.meant_for:
            message = message.for_test(target.meant_for)
        metadata = event_metadata(full_key)
        body = message.as_json(target.channel, metadata)
        publication = Publication(
            target.channel, full_key, hashlib.sha256(body.encode()).hexdigest()
        )
        try:
            return publish_once(
                self._conn,
                publication,
                self._as_of,
                send=lambda: slack.post(message, metadata, thread_ts, broadcast=broadcast),
                find=lambda: slack.find(full_key, thread_ts),
            )
        except NotSentError as error:
            raise PermanentFailure(str(error)) from None
        except UnconfirmedError as error:
            raise TransientFailure(str(error)) from None


def event_metadata(key: str) -> dict[str, Any]:
    """What lets a message be found again."""
    return {"event_type": _EVENT_TYPE, "event_payload": {"key": key}}


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

    def post(
        self,
        message: SlackMessage,
        metadata: dict[str, Any],
        thread_ts: str | None,
        *,
        broadcast: bool,
    ) -> str:
        """Post the message and return its timestamp, which is its id."""
        thread: dict[str, Any] = (
            {"thread_ts": thread_ts, "reply_broadcast": broadcast} if thread_ts else {}
        )
        try:
            response = self._client.chat_postMessage(
                channel=self._channel,
                text=message.text,
                blocks=message.blocks,
                metadata=metadata,
                unfurl_links=False,
                unfurl_media=False,
                **thread,
            )
        except SlackApiError as error:
            raise self._refusal(error) from None
        except (URLError, OSError, SlackClientError, *FOREIGN_ANSWER) as error:
            if _never_connected(error):
                message_text = "Slack could not be reached; check SLACK_API_BASE_URL"
                raise TransientFailure(message_text) from None
            raise self._unconfirmed() from None
        stamp = response.get("ts")
        if not stamp:
            raise self._unconfirmed()
        return str(stamp)

    def find(self, key: str, thread_ts: str | None) -> str | None:
        """Look for the message with this key among the latest of the channel or of the thread.

        Returns:
            Its timestamp; None when it is not there.

        Raises:
            UnconfirmedError: Slack does not let us look.
        """
        try:
            channel = self._channel_id()
            if channel is None:
                raise self._unconfirmed()
            if thread_ts:
                history = self._client.conversations_replies(
                    channel=channel, ts=thread_ts, include_all_metadata=True, limit=_REPLIES
                )
            else:
                history = self._client.conversations_history(
                    channel=channel, include_all_metadata=True, limit=_HISTORY
                )
        except (SlackClientError, URLError, OSError, *FOREIGN_ANSWER):
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
            return TransientFailure("Slack's rate limit did not clear; the message was not posted")
        # Without one of Slack's own error codes it was not Slack that answered.
        if not code or code in _MAY_HAVE_ARRIVED or is_transient_status(status):
            return self._unconfirmed()
        return NotSentError(
            f"Slack refused the message for {self._channel}: {code}; check SLACK_BOT_TOKEN, its "
            "chat:write scope, and that the app is in the channel"
        )

    def _unconfirmed(self) -> UnconfirmedError:
        return UnconfirmedError(
            f"Slack did not confirm the message for {self._channel}; the next try looks it up in "
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
