"""Reads lists and single objects from Stripe: the official SDK below, our pace and patience above.

Only GET is ever sent. Bodies are parsed here, once, with decimals kept exact; what the JSON means
is said in `flatten*.py`.
"""

import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import stripe

from leakage_pipeline.failures import ConfigurationError, PermanentFailure, TransientFailure
from leakage_pipeline.stripe_billing.errors import (
    EndpointForbidden,
    EndpointMissing,
    ObjectMissing,
    Refusal,
    RequestRefused,
    explain,
    permanent,
)
from leakage_pipeline.stripe_billing.objects import (
    OBJECTS,
    STRIPE_VERSION,
    EmbeddedList,
    Expands,
    Scalar,
    StripeObject,
)
from leakage_pipeline.stripe_billing.rate_limit import DEFAULT_REQUESTS_PER_SECOND, RateLimiter
from leakage_pipeline.stripe_billing.transport import BodyKeeper, proxy_for
from leakage_pipeline.stripe_billing.values import Json, without_nul

PAGE_SIZE = 100  # Stripe's highest; its default is 10

Query = Mapping[str, Scalar | Sequence[str] | Mapping[str, Scalar]]

T = TypeVar("T")

_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0
# A wrong address fails within seconds; a server that has answered before gets the full patience.
_ATTEMPTS_UNTIL_REACHED = 3
_JITTER = secrets.SystemRandom()


@dataclass(frozen=True)
class Page:
    """One answer of a list call: the objects, newest first, and whether there are more."""

    objects: list[Json]
    has_more: bool
    body: bytes = b""

    def cursor_after(self, cursor: str | None, path: str) -> str | None:
        """Give the cursor of the next page, None after the last.

        Raises:
            PermanentFailure: when paging does not advance, which would go on for ever.
        """
        if not self.has_more:
            return None
        last = self.objects[-1].get("id") if self.objects else None
        if not isinstance(last, str) or last == cursor:
            message = f"GET {path} does not get past {cursor}: the server repeats its pages"
            raise PermanentFailure(message)
        return last


class StripeReader:
    """Read access to one Stripe account.

    Args:
        api_key: Restricted key with read permissions.
        base_url: Other address of the API (tests, sandbox); None for Stripe itself.
        rate_limit: Highest number of requests a second, retries included.
        max_attempts: How often one request is tried before the run gives up.
        first_delay: Seconds before the second try; doubled each time, with jitter.
        timeout: Seconds to connect, and to wait for the answer.
        workers: Requests in flight at the same time, see `concurrency.py`.
        key_variable: Environment variable that holds the key, for messages.

    Attributes:
        requests: Requests sent, by object, repeated ones included.
        retries: How many of them were repeats.
        concessions: What the server would not do for an object (or ``object.list``), in a sentence.

    Raises:
        ConfigurationError: when the key is empty or cannot be one.
    """

    def __init__(  # noqa: PLR0913 - each is a choice of the caller, all but one have defaults
        self,
        api_key: str,
        base_url: str | None = None,
        *,
        rate_limit: float = DEFAULT_REQUESTS_PER_SECOND,
        max_attempts: int = 8,
        first_delay: float = _FIRST_DELAY,
        timeout: tuple[float, float] = (5.0, 60.0),
        workers: int = 6,
        key_variable: str = "STRIPE_API_KEY",
    ) -> None:
        key = api_key.strip()
        if not key or not key.isascii() or any(letter.isspace() for letter in key):
            message = (
                f"environment: {key_variable} is empty or no Stripe key; "
                "set it to a restricted key (rk_...) with read permissions"
            )
            raise ConfigurationError(message)
        # Otherwise the SDK writes a telemetry id into the user's home and sends timings along.
        stripe.enable_telemetry = False
        self.base_url = (base_url or stripe.DEFAULT_API_BASE).rstrip("/")
        self.workers = workers
        self.requests: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self.concessions: dict[str, str] = {}
        self._expand_levels: dict[str, int] = {}
        self._key_variable = key_variable
        self._max_attempts = max_attempts
        self._first_delay = first_delay
        self._limiter = RateLimiter(rate_limit)
        self._counting = threading.Lock()
        self._reached = False
        self._http = BodyKeeper(timeout=timeout, proxy=proxy_for(self.base_url))
        self._client = stripe.StripeClient(
            key,
            stripe_version=STRIPE_VERSION,
            base_addresses={"api": self.base_url},
            max_network_retries=0,  # the SDK gives up on 429 and knows nothing of our limiter
            http_client=self._http,
        )

    @property
    def pace(self) -> float:
        """The part of the highest rate that is used at present: less than 1 after a 429."""
        return self._limiter.share

    def list(
        self, object_name: str, **params: Scalar | Sequence[str] | Mapping[str, Scalar]
    ) -> Iterator[Page]:
        """Page through a list, newest first, with everything expanded that the object needs.

        Args:
            object_name: A key of `OBJECTS`.
            params: Filters, such as ``created={"lte": 1767225600}``.

        Yields:
            Every page, also the one empty page of an empty list.

        Raises:
            PermanentFailure: refused (`errors.py` has the kinds), or paging does not advance.
            TransientFailure: still failing after all attempts.
        """
        target = OBJECTS[object_name]
        query = {**target.params, **params}
        yield from self._pages(target, target.path, query, (target.name, target.expands))

    def page(self, target: StripeObject, params: Query, cursor: str | None) -> Page:
        """Fetch one page of an object's own list; `params` are filters. Errors as for `list`."""
        query = {**target.params, **params}
        return self._page(target, target.path, query, cursor, (target.name, target.expands))

    def elements(
        self, target: StripeObject, owner_id: str, embedded: EmbeddedList
    ) -> Sequence[Json]:
        """Fetch the whole of a list that stands inside an object. Errors as for `list`."""
        path = embedded.path.format(id=owner_id)
        query = {embedded.owner_param: owner_id} if embedded.owner_param else {}
        choice = (f"{target.name}.{embedded.key}", embedded.expands)
        pages = self._pages(target, path, query, choice)
        return [element for page in pages for element in page.objects]

    def pages(self, target: StripeObject, path: str, params: Query) -> Iterator[Page]:
        """Page through any other list endpoint, nothing expanded. Errors as for `list`."""
        yield from self._pages(target, path, params, (path, ((),)))

    def newer_pages(self, target: StripeObject, params: Query) -> Iterator[Sequence[Json]]:
        """Page through a list of Stripe's newer kind (`/v2/`), whose pages name the next one.

        Errors as for `list`.
        """
        query: Query = params
        seen: set[str] = set()
        while True:
            answer = self.get(target, target.path, query)
            objects, following = answer.get("data"), answer.get("next_page_url")
            if not isinstance(objects, list):
                message = f"GET {target.path} did not answer with a list of Stripe's newer kind"
                raise EndpointMissing(message)
            yield objects
            if not isinstance(following, str) or following in seen:
                return
            seen.add(following)
            # Its query alone: where requests go is ours to say.
            query = dict(parse_qsl(urlsplit(following).query))

    def retrieve(
        self, object_name: str, object_id: str, expand: tuple[str, ...] | None = None
    ) -> Json | None:
        """Fetch one object by id; None when Stripe has no such object.

        Args:
            object_name: A key of `OBJECTS`.
            object_id: The id.
            expand: What to expand; default: what the object's list expands.
        """
        target = OBJECTS[object_name]
        path = f"{target.path}/{object_id}"

        def ask(wanted: tuple[str, ...]) -> Json:
            return self.get(target, path, {"expand": list(wanted)} if wanted else {})

        try:
            if expand is not None:
                return ask(expand)
            return self._expanding(target.name, target.expands, ask)
        except (ObjectMissing, EndpointMissing):  # not every server says which of the two it is
            return None

    def _pages(
        self, target: StripeObject, path: str, params: Query, choice: tuple[str, Expands]
    ) -> Iterator[Page]:
        cursor: str | None = None
        while True:
            page = self._page(target, path, params, cursor, choice)
            yield page
            cursor = page.cursor_after(cursor, path)
            if cursor is None:
                return

    def _page(
        self,
        target: StripeObject,
        path: str,
        params: Query,
        cursor: str | None,
        choice: tuple[str, Expands],
    ) -> Page:
        query: dict[str, Any] = {**params, "limit": PAGE_SIZE}
        if cursor is not None:
            query["starting_after"] = cursor

        def ask(wanted: tuple[str, ...]) -> Page:
            expand = {"expand": [f"data.{name}" for name in wanted]} if wanted else {}
            body, answer = self._fetch(target, path, {**query, **expand})
            return _parse_page(answer, body, path)

        return self._expanding(*choice, ask)

    def _expanding(self, name: str, choices: Expands, ask: Callable[[tuple[str, ...]], T]) -> T:
        """Ask with the best expand that this server accepts, and remember which that is."""
        while True:
            level = self._expand_levels.get(name, 0)
            try:
                return ask(choices[level])
            except (RequestRefused, EndpointForbidden) as error:
                if level + 1 >= len(choices) or not _is_about_expand(error):
                    raise
                why, refused = error, choices[level]
            self._expand_levels[name] = level + 1
            self.concessions[name] = f"not everything could be expanded: {why}"
            if isinstance(why, EndpointForbidden):
                lost = ", ".join(sorted(set(refused) - set(choices[level + 1])))
                self.concessions[name] = f"the key does not allow to expand {lost}"

    def get(self, target: StripeObject, path: str, params: Query) -> Json:
        """Send one GET, as often as it needs.

        Args:
            target: Whose requests and permissions these are.
            path: Path below the base address.
            params: Query; nested mappings and lists as the SDK encodes them.

        Returns:
            The parsed body; every number with a point or an exponent is a Decimal.

        Raises:
            PermanentFailure: refused; see `errors.py` for the kinds.
            TransientFailure: still failing after all attempts.
        """
        return self._fetch(target, path, params)[1]

    def _fetch(self, target: StripeObject, path: str, params: Query) -> tuple[bytes, Json]:
        url = f"{self.base_url}{path}"
        attempt = 0
        while True:
            attempt += 1
            self._limiter.acquire()
            self._count(self.requests, target)
            try:
                self._client.raw_request("get", path, **params)
                self._reached = True
                body = self._http.take_body()
                return body, _parse(body)
            except stripe.StripeError as error:
                refusal = explain(error, url)
                self._reached = self._reached or refusal.reached
                if not refusal.retry and refusal.reached:
                    raise permanent(error, target, path, self._key_variable) from None
            except _CutBody:
                refusal = Refusal(f"GET {url} gave a body that is no whole JSON", retry=True)
            self._wait_or_give_up(refusal, attempt, target)

    def _wait_or_give_up(self, refusal: Refusal, attempt: int, target: StripeObject) -> None:
        hint = "" if self._reached else "; check STRIPE_API_BASE and the network"
        if not refusal.retry:
            raise PermanentFailure(refusal.message + hint)
        patience = self._max_attempts if self._reached else _ATTEMPTS_UNTIL_REACHED
        if attempt >= min(patience, self._max_attempts):
            message = f"{refusal.message}; gave up after {attempt} tries{hint}"
            raise TransientFailure(message)
        self._count(self.retries, target)
        delay = min(_LONGEST_DELAY, self._first_delay * 2 ** (attempt - 1))
        delay *= _JITTER.uniform(0.5, 1.0)
        if refusal.retry_after is not None:
            delay = max(delay, min(refusal.retry_after, _LONGEST_DELAY))
        if refusal.limited:
            self._limiter.slow_down()
        if refusal.account_wide:
            self._limiter.pause(delay)
        else:
            time.sleep(delay)

    def _count(self, counter: Counter[str], target: StripeObject) -> None:
        with self._counting:
            counter[target.name] += 1


def _is_about_expand(error: RequestRefused | EndpointForbidden) -> bool:
    # A key that may read the object and not what it refers to: the plain object is still to be had.
    return isinstance(error, EndpointForbidden) or error.is_about("expand")


class _CutBody(Exception):  # noqa: N818 - never leaves this module
    pass


def _parse(body: bytes) -> Json:
    try:
        parsed = json.loads(without_nul(body), parse_float=Decimal)
    except ValueError as error:
        raise _CutBody from error
    if not isinstance(parsed, dict):
        raise _CutBody
    return parsed


def _parse_page(answer: Json, body: bytes, path: str) -> Page:
    objects, has_more = answer.get("data"), answer.get("has_more", False)
    if not isinstance(objects, list) or not isinstance(has_more, bool):
        message = f"GET {path} did not answer with a Stripe list; is STRIPE_API_BASE a Stripe API?"
        raise PermanentFailure(message)
    return Page(objects, has_more, body)
