"""What each address answers: lists, single objects, embedded lists, meter events and summaries.

Pure: a method, a path and parameters in, a JSON object out or an `ApiError` raised.
"""

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from itertools import count
from typing import Any

from leakage_pipeline.simulator.stripe_objects import JsonObject, StripeAccount
from leakage_pipeline.simulator.stripe_server import credit_notes, expand, listing, thin_events
from leakage_pipeline.simulator.stripe_server.errors import (
    ApiError,
    bad_request,
    no_such,
    unknown_url,
)
from leakage_pipeline.simulator.stripe_server.meters import MeterLedger
from leakage_pipeline.simulator.stripe_server.params import (
    PAGING,
    expand_tree,
    refuse_unknown,
    required,
    span,
)
from leakage_pipeline.simulator.stripe_server.resources import BY_PATH, Resource
from leakage_pipeline.simulator.stripe_server.store import Store
from leakage_pipeline.simulator.stripe_server.writes import Writes

Params = Mapping[str, Any]

_LINES = re.compile(r"/v1/(invoices|credit_notes)/([^/]+)/lines")
_SUMMARIES = re.compile(r"/v1/billing/meters/([^/]+)/event_summaries")
_BALANCE = re.compile(r"/v1/customers/([^/]+)/balance_transactions")
_ENTITLEMENTS = "/v1/entitlements/active_entitlements"
_ITEM = re.compile(r"/v1/subscription_items/([^/]+)")
_OBJECT = re.compile(r"(/v1/(?:billing/|entitlements/)?\w+)/([^/]+)")
_SUMMARY_PARAMS = PAGING | {"customer", "start_time", "end_time", "value_grouping_window"}


class Endpoints:
    """Every endpoint over one account."""

    def __init__(
        self, account: StripeAccount, *, clock: Callable[[], int], lag_seconds: int
    ) -> None:
        self.store = Store(account, now=clock())
        self.ledger = MeterLedger(account, lag_seconds=lag_seconds)
        self._writes = Writes(account, self.store, clock)
        self._credit_notes = credit_notes.CreditNotes(account, self.store, clock)
        self._clock = clock
        self._thin_events = account.thin_events
        self._expander = expand.Expander(self.store.find, self.store.hidden)
        self._generated = count(1)
        self._fixed: dict[str, Callable[[Params], JsonObject]] = {
            "/v1/subscription_items": self._list_items,
            credit_notes.PREVIEW: self._credit_notes.preview,
            f"{credit_notes.PREVIEW}/lines": self._list_preview,
        }

    def answer(self, method: str, path: str, params: Params) -> JsonObject:
        """The body of the answer.

        Raises:
            ApiError: Whatever Stripe would refuse.
        """
        if method == "POST":
            return self._post(path, params)
        if method == "DELETE" and (deleted := self._writes.delete_invoice_item(path)) is not None:
            return deleted
        if method != "GET":
            raise unknown_url(method=method, path=path)
        if path in BY_PATH:
            return self._list(BY_PATH[path], params)
        if path in self._fixed:
            return self._fixed[path](params)
        if path.startswith(thin_events.PATH):
            return thin_events.answer(self._thin_events, path, params)
        return self._below(path, params)

    def _below(self, path: str, params: Params) -> JsonObject:
        """A single object, or a list that belongs to one."""
        if match := _LINES.fullmatch(path):
            return self._list_lines(path, match[1], match[2], params)
        if match := _SUMMARIES.fullmatch(path):
            return self._list_summaries(path, match[1], params)
        if match := _BALANCE.fullmatch(path):
            return self._list_balance(path, match[1], params)
        if path == _ENTITLEMENTS:
            return self._list_entitlements(params)
        if match := _ITEM.fullmatch(path):
            return self._retrieve("subscription_item", "subscription item", match[1], params)
        if (match := _OBJECT.fullmatch(path)) and match[1] in BY_PATH:
            resource = BY_PATH[match[1]]
            return self._retrieve(resource.kind, resource.noun, match[2], params)
        raise unknown_url(method="GET", path=path)

    def _post(self, path: str, params: Params) -> JsonObject:
        if path == "/v1/billing/meter_events":
            generated = f"simulated-{next(self._generated):08d}"
            return self.ledger.create_event(params, now=self._clock(), generated_id=generated)
        if path == "/v1/billing/meter_event_adjustments":
            return self.ledger.adjust(params, now=self._clock())
        if path == "/v1/invoiceitems":
            return self._writes.create_invoice_item(params)
        if path == credit_notes.PATH:
            return self._credit_notes.create(params)
        if (voided := self._credit_notes.void(path)) is not None:
            return voided
        raise unknown_url(method="POST", path=path)

    def _list(self, resource: Resource, params: Params) -> JsonObject:
        refuse_unknown(params, PAGING | resource.accepted())
        tree = self._checked_tree(f"list:{resource.kind}", params)
        shelf = self.store.shelves[resource.shelf]
        data, has_more = listing.page_of_shelf(shelf, params)
        return self._close(resource.path, resource.kind, data, tree, has_more=has_more)

    def _list_items(self, params: Params) -> JsonObject:
        refuse_unknown(params, PAGING | {"subscription"})
        subscription = required(params, "subscription")
        items = self.store.items.get(subscription)
        if items is None:
            raise no_such(
                noun="subscription", object_id=subscription, param="subscription", in_path=False
            )
        tree = self._checked_tree("list:subscription_item", params)
        data, has_more = listing.page_of_sequence(items, params, "subscription item")
        path = "/v1/subscription_items"
        return self._close(path, "subscription_item", data, tree, has_more=has_more)

    def _list_lines(self, path: str, owner: str, owner_id: str, params: Params) -> JsonObject:
        refuse_unknown(params, PAGING)
        lines, kind = self.store.lines, "line_item"
        if owner == "credit_notes":
            lines, kind = self.store.credit_note_lines, "credit_note_line_item"
        if owner_id not in lines:
            raise no_such(noun=owner.removesuffix("s"), object_id=owner_id)
        tree = self._checked_tree(f"list:{kind}", params)
        data, has_more = listing.page_of_sequence(lines[owner_id], params, kind)
        return self._close(path, kind, data, tree, has_more=has_more)

    def _list_preview(self, params: Params) -> JsonObject:
        asked = {name: value for name, value in params.items() if name not in PAGING}
        lines = self._credit_notes.preview(asked)["lines"]["data"]
        kind = "credit_note_line_item"
        data, has_more = listing.page_of_sequence(lines, params, kind)
        path = f"{credit_notes.PREVIEW}/lines"
        return self._close(path, kind, data, {}, has_more=has_more)

    def _list_balance(self, path: str, customer: str, params: Params) -> JsonObject:
        found = self.store.find("customer", customer)
        if found is None or found.get("deleted"):
            raise no_such(noun="customer", object_id=customer)
        refuse_unknown(params, PAGING | {"created", "invoice"})
        kind = "customer_balance_transaction"
        tree = self._checked_tree(f"list:{kind}", params)
        rows = self.store.balance_transactions.get(customer, [])
        if "created" in params:
            wanted = span("created", params["created"])
            rows = [row for row in rows if wanted.holds(row["created"])]
        if "invoice" in params:
            rows = [row for row in rows if row["invoice"] == params["invoice"]]
        data, has_more = listing.page_of_sequence(rows, params, "customer balance transaction")
        return self._close(path, kind, data, tree, has_more=has_more)

    def _list_entitlements(self, params: Params) -> JsonObject:
        refuse_unknown(params, PAGING | {"customer"})
        customer = required(params, "customer")
        if self.store.find("customer", customer) is None:
            raise no_such(noun="customer", object_id=customer, param="customer", in_path=False)
        kind = "entitlements.active_entitlement"
        tree = self._checked_tree(f"list:{kind}", params)
        rows = self.store.entitlements.get(customer, [])
        data, has_more = listing.page_of_sequence(rows, params, "active entitlement")
        return self._close(_ENTITLEMENTS, kind, data, tree, has_more=has_more)

    def _list_summaries(self, path: str, meter_id: str, params: Params) -> JsonObject:
        if self.store.find("billing.meter", meter_id) is None:
            raise no_such(noun="billing meter", object_id=meter_id)
        refuse_unknown(params, _SUMMARY_PARAMS)
        customer = required(params, "customer")
        if self.store.find("customer", customer) is None:
            raise no_such(noun="customer", object_id=customer, param="customer", in_path=False)
        kind = "billing.meter_event_summary"
        tree = self._checked_tree(f"list:{kind}", params)
        rows = self.ledger.summaries(meter_id, params, now=self._clock())
        data, has_more = listing.page_of_sequence(rows, params, "meter event summary")
        return self._close(path, kind, data, tree, has_more=has_more)

    def _retrieve(self, kind: str, noun: str, object_id: str, params: Params) -> JsonObject:
        refuse_unknown(params, {"expand"})
        tree = self._checked_tree(kind, params)
        found = self.store.retrieve(kind, object_id)
        if found is None:
            raise no_such(noun=noun, object_id=object_id)
        return found if found.get("deleted") else self._expander.show(kind, found, tree)

    def _checked_tree(self, kind: str, params: Params) -> dict[str, Any]:
        tree = expand_tree(params)
        expand.check(kind, tree)
        return tree

    def _close(
        self,
        url: str,
        kind: str,
        data: list[JsonObject],
        tree: dict[str, Any],
        *,
        has_more: bool,
    ) -> JsonObject:
        below = tree.get("data", {})
        shown = [self._expander.show(kind, entry, below) for entry in data] if below else data
        return listing.list_object(url, shown, has_more=has_more)


class Idempotency:
    """Results of POST requests by Idempotency-Key: the same request again gets the same answer.

    Keys are forgotten after a day, as Stripe may do.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._stored: dict[str, tuple[tuple[str, Params], int, bytes, str]] = {}
        self._kept_at: dict[str, int] = {}

    def replay(self, key: str, path: str, params: Params) -> tuple[int, bytes, str] | None:
        """Status, body and original request id of an earlier answer to the same request.

        Raises:
            ApiError: When the key was used with another address or other parameters.
        """
        if len(key) > _MAX_KEY:
            message = f"The idempotency key must be at most {_MAX_KEY} characters."
            raise bad_request(message=message)
        stored = self._stored.get(key)
        if stored is None or self._clock() - self._kept_at[key] >= _KEPT_SECONDS:
            return None
        request, status, body, request_id = stored
        if request != (path, params):
            message = (
                "Keys for idempotent requests can only be used with the same parameters they were "
                f"first used with. Try using a key other than '{key}' if you meant to execute a "
                "different request."
            )
            raise ApiError(HTTPStatus.BAD_REQUEST, message, kind="idempotency_error")
        return status, body, request_id

    def keep(self, key: str, path: str, params: Params, answer: tuple[int, bytes, str]) -> None:
        """Store the answer of a request that was carried out."""
        self._stored[key] = ((path, params), *answer)
        self._kept_at[key] = self._clock()


_MAX_KEY = 255
_KEPT_SECONDS = 86_400
