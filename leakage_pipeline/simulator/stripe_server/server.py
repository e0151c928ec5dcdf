"""The simulated Stripe API as a running server: start, stop, watch, change its mind.

Everything over HTTP is in `app` and below; this module only gives it a port and a thread.
"""

import asyncio
import socket
import threading
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import Self

import uvicorn

from leakage_pipeline.simulator.stripe_objects import JsonObject, StripeAccount
from leakage_pipeline.simulator.stripe_server.app import Api, RequestRecord
from leakage_pipeline.simulator.stripe_server.endpoints import Endpoints
from leakage_pipeline.simulator.stripe_server.faults import FaultInjector, Faults, ScriptedFault
from leakage_pipeline.simulator.stripe_server.keys import DEFAULT_API_KEY, ApiKey
from leakage_pipeline.simulator.stripe_server.meters import MeterError

Clock = Callable[[], datetime]
_HOST = "127.0.0.1"
_START_SECONDS = 30.0
_BACKLOG = 256


class _UvicornServer(uvicorn.Server):
    """uvicorn that is told to start and stop: its own loop polls ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then wake who waits."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets=sockets)
        self.listening.set()

    async def main_loop(self) -> None:
        """Serve until `end` is called."""
        await self._stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close idle connections, then drop those that a request still holds (stalls)."""
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await asyncio.sleep(0)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)

    def end(self) -> None:
        """Stop serving; callable from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)


class StripeServer:
    """A Stripe API on loopback that serves one account from a background thread.

    Args:
        account: The objects to serve; read once, so `load` again after changing them.
        now: Stripe's clock, a fixed instant or a function; aware datetimes only.
        faults: What goes wrong on purpose; nothing by default.
        keys: The keys that the account knows; one full key by default.
        port: 0 takes a free one.
        summary_lag_seconds: How long, on `now`, a new meter event stays out of summaries. Events
            that are part of the account show at once.

    Use it as a context manager; `base_url` is the address for the SDK's `base_addresses["api"]`.
    """

    def __init__(
        self,
        account: StripeAccount,
        *,
        now: datetime | Clock,
        faults: Faults | None = None,
        keys: Sequence[ApiKey] = (ApiKey(),),
        port: int = 0,
        summary_lag_seconds: int = 0,
    ) -> None:
        self._now = now
        self._lag = summary_lag_seconds
        self._port = port
        self.account = account
        self._api = Api(
            self._endpoints(account), FaultInjector(faults or Faults()), keys, self._seconds
        )
        self._server: _UvicornServer | None = None
        self._thread: threading.Thread | None = None

    # ---------------------------------------------------------------- running

    def start(self) -> Self:
        """Listen; returns when requests are answered.

        Raises:
            OSError: When the port is taken.
        """
        listener = _listen(self._port)
        self._port = listener.getsockname()[1]
        config = uvicorn.Config(
            self._api.starlette,
            lifespan="off",
            log_config=None,
            log_level="critical",  # dropped connections are part of the show
            access_log=False,
            date_header=False,
        )
        server = _UvicornServer(config)
        self._server = server
        self._thread = threading.Thread(
            target=lambda: asyncio.run(server.serve(sockets=[listener])),
            name=f"simulated-stripe-{self._port}",
            daemon=True,
        )
        self._thread.start()
        if not server.listening.wait(_START_SECONDS):
            message = f"the simulated Stripe server did not start on port {self._port}"
            raise RuntimeError(message)
        return self

    def stop(self) -> None:
        """Stop listening and drop every connection, stalled ones too."""
        if self._server is None or self._thread is None:
            return
        self._server.end()
        self._thread.join()
        self._server = self._thread = None

    def wait(self) -> None:
        """Block until the server is stopped."""
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """`http://127.0.0.1:<port>`, without a slash at the end."""
        return f"http://{_HOST}:{self._port}"

    @property
    def api_key(self) -> str:
        """The first key that the server knows."""
        return next(iter(self._api.keys), DEFAULT_API_KEY)

    # ---------------------------------------------------------------- watching

    @property
    def requests(self) -> list[RequestRecord]:
        """Every request so far, in order of their answers (a copy)."""
        return list(self._api.requests)

    @property
    def meter_errors(self) -> list[MeterError]:
        """What was wrong with meter events that were answered with 200."""
        return list(self._api.endpoints.ledger.errors)

    @property
    def posted_meter_events(self) -> list[JsonObject]:
        """The meter events that were taken over the API and not cancelled since."""
        return list(self._api.endpoints.ledger.posted)

    @property
    def crashes(self) -> list[str]:
        """Tracebacks of bugs in the simulator itself; each was also answered with 500."""
        return list(self._api.crashes)

    def max_rate(self, window_seconds: float = 1.0) -> int:
        """The most requests that arrived within any window of this length."""
        times = sorted(record.at for record in self.requests)
        return max(
            (
                bisect_left(times, start + window_seconds) - index
                for index, start in enumerate(times)
            ),
            default=0,
        )

    def forget_requests(self) -> None:
        """Start the log of requests anew."""
        self._api.requests.clear()

    # ---------------------------------------------------------------- changing

    @property
    def now(self) -> datetime:
        """Stripe's present."""
        return self._now if isinstance(self._now, datetime) else self._now()

    @now.setter
    def now(self, now: datetime | Clock) -> None:
        self._now = now

    def load(self, account: StripeAccount) -> None:
        """Serve this account from now on; posted meter events of the old one are gone."""
        self.account = account
        self._api.endpoints = self._endpoints(account)

    def set_faults(self, faults: Faults) -> None:
        """Other faults from the next request on."""
        self._api.faults = FaultInjector(faults)

    def script(self, *faults: ScriptedFault) -> None:
        """Add scripted faults to those in force."""
        self._api.faults.add(faults)

    def set_key(self, key: ApiKey) -> None:
        """Add a key, or change what the key with this secret may do."""
        self._api.keys[key.secret] = key

    def revoke(self, secret: str | None = None) -> None:
        """Revoke a key (default: the first)."""
        key = self._api.keys[secret or self.api_key]
        self.set_key(replace(key, revoked=True))

    def deny(self, *path_prefixes: str, secret: str | None = None) -> None:
        """Take the permission for these addresses from a key (default: the first)."""
        key = self._api.keys[secret or self.api_key]
        self.set_key(replace(key, denied=key.denied | set(path_prefixes)))

    def _endpoints(self, account: StripeAccount) -> Endpoints:
        return Endpoints(account, clock=self._seconds, lag_seconds=self._lag)

    def _seconds(self) -> int:
        return int(self.now.timestamp())


def _listen(port: int) -> socket.socket:
    """A listening socket; asyncio turns off Nagle's 40 ms wait only when the protocol is named."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
