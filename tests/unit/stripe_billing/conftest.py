"""A Stripe account full of traps behind a server, and a bare wire for answers of any other kind."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from leakage_pipeline.simulator.stripe_server import StripeServer
from leakage_pipeline.stripe_billing.client import StripeReader
from tests.unit.stripe_billing.trap_account import AS_OF, trap_account


@dataclass
class Request:
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    method: str = "GET"


Answer = Callable[[Request], tuple[int, bytes]]


@dataclass
class Wire:
    """An HTTP server whose every answer the test writes itself."""

    base_url: str = ""
    answer: Answer = lambda _: (200, b'{"object": "list", "data": [], "has_more": false}')
    requests: list[Request] = field(default_factory=list)


def as_list(data: list[Any], *, has_more: bool = False) -> bytes:
    return json.dumps({"object": "list", "data": data, "has_more": has_more}).encode()


def error(message: str, **more: str) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


@pytest.fixture
def wire() -> Iterator[Wire]:
    state = Wire()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = dict(parse_qsl(parts.query))
            request = Request(parts.path, query, dict(self.headers), self.command)
            state.requests.append(request)
            status, body = state.answer(request)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        state.base_url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield state
        server.shutdown()
        thread.join()


@pytest.fixture
def stripe_server() -> Iterator[StripeServer]:
    with StripeServer(trap_account(), now=AS_OF) as server:
        yield server
        assert server.crashes == []


ReaderOf = Callable[..., StripeReader]


@pytest.fixture
def reader_of() -> ReaderOf:
    """A reader of a server (or wire), impatient unless told otherwise."""

    def build(server: StripeServer | Wire, **options: Any) -> StripeReader:
        key = server.api_key if isinstance(server, StripeServer) else "rk_test_wire"
        patience = {"rate_limit": 1000.0, "first_delay": 0.01, **options}
        return StripeReader(key, server.base_url, **patience)

    return build


@pytest.fixture
def reader(stripe_server: StripeServer, reader_of: ReaderOf) -> StripeReader:
    return reader_of(stripe_server)
