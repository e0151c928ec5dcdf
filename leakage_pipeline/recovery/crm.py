"""Deals for sales, at most one per cause: HubSpot through its own client, Pipedrive over HTTP.

Neither takes an idempotency key, so a deal carries our action's id in its name and is looked for
before it is made. Nobody's address or mail is in it.
"""

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Protocol

import httpx
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.failures import ConfigurationError, is_transient_status
from leakage_pipeline.recovery import ledger
from leakage_pipeline.recovery.ledger import Action
from leakage_pipeline.recovery.outcome_errors import (
    KeyRefusedError,
    NotSentError,
    RefusedError,
    UnknownOutcomeError,
)
from leakage_pipeline.recovery.planning import Lane, plan_lane
from leakage_pipeline.settings import Settings

DEALS = ("hubspot_deal", "pipedrive_deal")
INDEXED_AFTER = timedelta(hours=1)
"""How long a search may not know a deal yet that was made."""
_LANE = Lane(DEALS, "deals.sql", release_stays=True)
_SECONDS = 30.0
_HUBSPOT, _PIPEDRIVE = "HubSpot", "Pipedrive"
_LONGEST_TEXT = 300


class Receiver(Protocol):
    """Whoever takes deals."""

    def find(self, action: Action) -> str | None:
        """The id of the deal that carries the action's id; None when there is none."""

    def make(self, action: Action) -> str:
        """Make the deal and give its id."""


def plan_deals(conn: Connection, settings: Settings, as_of: datetime) -> int:
    """Plan the deals that the newest audit's advice calls for; gives how many stand.

    Args:
        conn: Warehouse connection; committed at the end.
        settings: `policy.crm` names the system; none plans nothing.
        as_of: The audit's instant.
    """
    crm, mode = settings.policy.crm, settings.policy.action_mode
    if crm.system == "none" or mode == "off":
        return 0
    plan = plan_lane(
        conn, _LANE, mode, as_of, system=crm.system, stage=crm.stage, pipeline=crm.pipeline
    )
    return plan.planned


def receiver_from(settings: Settings) -> Receiver | None:
    """The system that `policy.crm` names; None for none.

    Raises:
        ConfigurationError: Its token is not set.
    """
    environment, system = settings.environment, settings.policy.crm.system
    if system == "none":
        return None
    if system == "hubspot":
        if environment.hubspot_access_token is None:
            message = "environment: policy.crm is hubspot and HUBSPOT_ACCESS_TOKEN is not set"
            raise ConfigurationError(message)
        token = environment.hubspot_access_token.get_secret_value()
        return HubSpot(token, environment.hubspot_api_base_url)
    if environment.pipedrive_api_token is None or environment.pipedrive_api_base_url is None:
        message = (
            "environment: policy.crm is pipedrive; set PIPEDRIVE_API_TOKEN and "
            "PIPEDRIVE_API_BASE_URL (https://yourcompany.pipedrive.com)"
        )
        raise ConfigurationError(message)
    token = environment.pipedrive_api_token.get_secret_value()
    return Pipedrive(token, environment.pipedrive_api_base_url)


def deliver(conn: Connection, receiver: Receiver, action: Action, now: datetime) -> str:
    """Make one deal unless it is there, and say what became of it.

    Raises:
        KeyRefusedError: The token is not accepted; nothing was made.
    """
    try:
        remote_id = receiver.find(action)
    except (RefusedError, NotSentError, UnknownOutcomeError) as failure:
        return f"waits: {failure}"
    if remote_id is not None:
        if action.status != "sent" and not ledger.claim(conn, action, by=ledger.AUTO, at=now):
            return "waits: it was changed meanwhile"
        ledger.confirm(conn, action.action_id, remote_id, at=now)
        return "was there already"
    is_new = action.status != "sent"
    if not is_new and action.sent_at is not None and now - action.sent_at < INDEXED_AFTER:
        return "open: the search may not know it yet"
    if not is_new:
        ledger.tried_again(conn, action.action_id)
    elif not ledger.claim(conn, action, by=ledger.AUTO, at=now):
        return "waits: it was changed meanwhile"
    return _make(conn, receiver, action, now)


def _make(conn: Connection, receiver: Receiver, action: Action, now: datetime) -> str:
    """Make a deal that the ledger has as sent and that the search does not find."""
    try:
        remote_id = receiver.make(action)
    except KeyRefusedError as refused:
        ledger.put_back(conn, action.action_id, str(refused), at=now)
        raise
    except RefusedError as refused:
        ledger.fail(conn, action.action_id, str(refused), at=now)
        outcome = f"failed: {refused}"
    except NotSentError as failure:
        ledger.put_back(conn, action.action_id, str(failure), at=now)
        outcome = f"waits: {failure}"
    except UnknownOutcomeError as unknown:
        ledger.doubt(conn, action.action_id, str(unknown), needs_person=False)
        outcome = f"open: {unknown}"
    else:
        ledger.confirm(conn, action.action_id, remote_id, at=now)
        outcome = "sent"
    return outcome


class HubSpot:
    """Deals through HubSpot's official client."""

    def __init__(self, token: str, base_url: str | None = None) -> None:
        # The client imports hundreds of modules: only who makes deals waits for them.
        from hubspot import HubSpot as Client  # noqa: PLC0415
        from urllib3.util.retry import Retry  # noqa: PLC0415

        host = {} if base_url is None else {"host": base_url}
        # A repeated POST would make a second deal: nothing is retried below us.
        self._deals = Client(access_token=token, retry=Retry(0), **host).crm.deals

    def find(self, action: Action) -> str | None:
        """Search by the deal's whole name."""
        name = action.request[0]["params"]["properties"]["dealname"]
        wanted = {"propertyName": "dealname", "operator": "EQ", "value": name}
        found = self._call(
            self._deals.search_api.do_search,
            "search",
            public_object_search_request={"filterGroups": [{"filters": [wanted]}], "limit": 2},
        )
        return str(found.results[0].id) if found.results else None

    def make(self, action: Action) -> str:
        """Create the deal."""
        made = self._call(
            self._deals.basic_api.create,
            "create",
            simple_public_object_input_for_create=action.request[0]["params"],
        )
        return str(made.id)

    @staticmethod
    def _call(method: Any, name: str, **arguments: Any) -> Any:
        from hubspot.crm.deals.exceptions import OpenApiException  # noqa: PLC0415
        from urllib3.exceptions import HTTPError  # noqa: PLC0415

        try:
            return method(**arguments, _request_timeout=_SECONDS)
        except OpenApiException as error:
            status = getattr(error, "status", None) or 0
            raise _failure(_HUBSPOT, name, status, str(getattr(error, "reason", error))) from None
        except (HTTPError, ValueError, OSError) as error:
            raise _failure(_HUBSPOT, name, 0, str(error)) from None


class Pipedrive:
    """Deals over Pipedrive's HTTP API, version 2."""

    def __init__(self, token: str, base_url: str) -> None:
        self._client = httpx.Client(
            base_url=base_url, headers={"x-api-token": token}, timeout=_SECONDS
        )

    def find(self, action: Action) -> str | None:
        """Search titles for the action's id."""
        found = self._call(
            "GET",
            "/api/v2/deals/search",
            params={"term": action.action_id, "fields": "title", "limit": 10},
        )
        for entry in found.get("items", ()):
            if action.action_id in str(entry["item"]["title"]):
                return str(entry["item"]["id"])
        return None

    def make(self, action: Action) -> str:
        """Create the deal."""
        made = self._call("POST", "/api/v2/deals", json=_plain(action.request[0]["params"]))
        return str(made["id"])

    def _call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        try:
            answer = self._client.request(method, path, **arguments)
            if answer.is_error:
                raise _failure(_PIPEDRIVE, path, answer.status_code, answer.text)
            body = answer.json()
            data = body["data"]
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            message = f"Pipedrive could not be reached: {error}"
            raise NotSentError(message) from None
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise _failure(_PIPEDRIVE, path, 0, str(error)) from None
        return dict(data)


def _plain(params: dict[str, Any]) -> dict[str, Any]:
    """Amounts as text: JSON has no exact decimals, and Pipedrive reads either."""
    return {key: value if isinstance(value, int) else str(value) for key, value in params.items()}


def _failure(system: str, what: str, status: int, said: str) -> Exception:
    """Done, refused for certain, or unknown: what an error of a CRM means."""
    text = f"{system} {what}: {status or 'no answer'} {' '.join(said.split())[:_LONGEST_TEXT]}"
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return KeyRefusedError(text)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return NotSentError(text)
    if not status or is_transient_status(status):
        return UnknownOutcomeError(text)
    return RefusedError(text)
