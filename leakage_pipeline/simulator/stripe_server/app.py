"""The HTTP side: authorisation, faults, headers, errors, the log of requests.

What an address answers is decided in `endpoints`; how it fails on purpose in `faults`.
"""

import asyncio
import re
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from http import HTTPStatus
from itertools import count
from typing import Any, NamedTuple

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from leakage_pipeline.simulator.stripe_objects import API_VERSION
from leakage_pipeline.simulator.stripe_server.endpoints import Endpoints, Idempotency
from leakage_pipeline.simulator.stripe_server.errors import ApiError, bad_request
from leakage_pipeline.simulator.stripe_server.faults import Fault, FaultInjector
from leakage_pipeline.simulator.stripe_server.keys import ApiKey, invalid_key, secret_of
from leakage_pipeline.simulator.stripe_server.params import parse

_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(\.\w+)?")
_METHODS = ["GET", "POST", "DELETE", "PUT", "PATCH"]
CUT = 0

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class RequestRecord(NamedTuple):
    """One request that the server answered; `status` 0 is a connection that was cut.

    `params` are the query parameters, of a POST the form, nested as Stripe reads them; `at` is
    `time.monotonic()` on arrival.
    """

    method: str
    path: str
    params: Mapping[str, Any]
    status: int
    at: float


class CutResponse(Response):
    """Promises the whole body, sends half of it, and lets the server drop the connection."""

    async def __call__(  # the arguments are ASGI's
        self,
        scope: _Scope,  # noqa: ARG002
        receive: _Receive,  # noqa: ARG002
        send: _Send,
    ) -> None:
        """Send half of the answer."""
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})


class Api:
    """The application over a set of endpoints; all state of one server that requests change."""

    def __init__(
        self,
        endpoints: Endpoints,
        faults: FaultInjector,
        keys: Sequence[ApiKey],
        clock: Callable[[], int],
    ) -> None:
        self.endpoints = endpoints
        self.faults = faults
        self.keys = {key.secret: key for key in keys}
        self.requests: list[RequestRecord] = []
        self.crashes: list[str] = []
        self._idempotency = Idempotency(clock)
        self._request_ids = count(1)
        self.starlette = Starlette(routes=[Route("/{path:path}", self._serve, methods=_METHODS)])

    async def _serve(self, request: Request) -> Response:
        arrived = time.monotonic()
        fault = self.faults.decide(request.method, request.url.path)
        if fault.stall_seconds:
            await asyncio.sleep(fault.stall_seconds)
        raw = await request.body() if request.method == "POST" else b""
        encoded = raw.decode("utf-8", "replace") if raw else request.url.query
        response, params = self._respond(request, encoded, fault)
        status = CUT if fault.cut else response.status_code
        record = RequestRecord(request.method, request.url.path, params, status, arrived)
        self.requests.append(record)
        return response

    def _respond(
        self, request: Request, encoded: str, fault: Fault
    ) -> tuple[Response, Mapping[str, Any]]:
        headers = {"Request-Id": f"req_simulated{next(self._request_ids):08d}"}
        params: Mapping[str, Any] = {}
        try:
            params = parse(encoded)
            headers["Stripe-Version"] = self._version(request)
            if fault.status is not None:
                headers.update(fault.headers())
                return _json(fault.status, orjson.dumps(fault.body()), headers), params
            status, body = self._carry_out(request, params, headers)
        except ApiError as error:
            status, body = error.status, orjson.dumps(error.body())
        except Exception:  # noqa: BLE001 - a bug of the simulator must reach the test that hit it
            self.crashes.append(traceback.format_exc())
            crash = {"error": {"message": self.crashes[-1], "type": "api_error"}}
            status, body = int(HTTPStatus.INTERNAL_SERVER_ERROR), orjson.dumps(crash)
        headers.update(fault.headers())
        kind = CutResponse if fault.cut else Response
        return _json(status, body, headers, kind), params

    def _carry_out(
        self, request: Request, params: Mapping[str, Any], headers: dict[str, str]
    ) -> tuple[int, bytes]:
        path = request.url.path
        secret = secret_of(request.headers.get("authorization"))
        key = self.keys.get(secret)
        if key is None:
            raise invalid_key(secret)
        key.check(request.method, path)
        token = request.headers.get("idempotency-key") if request.method == "POST" else None
        if token:
            headers["Idempotency-Key"] = token
            earlier = self._idempotency.replay(token, path, params)
            if earlier is not None:
                status, body, request_id = earlier
                headers.update({"Idempotent-Replayed": "true", "Original-Request": request_id})
                return status, body
        body = orjson.dumps(self.endpoints.answer(request.method, path, params))
        status = int(HTTPStatus.OK)
        if token:
            answer = (status, body, headers["Request-Id"])
            self._idempotency.keep(token, path, params, answer)
        return status, body

    @staticmethod
    def _version(request: Request) -> str:
        version = request.headers.get("stripe-version") or API_VERSION
        if not _VERSION.fullmatch(version):
            raise bad_request(message=f"Invalid Stripe API version: {version}")
        return version


def _json(
    status: int, body: bytes, headers: Mapping[str, str], kind: type[Response] = Response
) -> Response:
    return kind(body, status_code=status, headers=dict(headers), media_type="application/json")
