"""A loopback server with the deal endpoints of HubSpot and Pipedrive, counting, misbehaving."""

import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class CrmServer:
    """Deals by name as they were made; `misbehave` takes statuses, or cut, for the next posts."""

    def __init__(self) -> None:
        self.deals: list[str] = []
        self.tokens: set[str | None] = set()
        self.bodies: list[dict[str, Any]] = []
        self.misbehave: deque[int | str] = deque()
        self.base_url = ""


@contextmanager
def crm_server() -> Iterator[CrmServer]:
    """Serve until the block ends."""
    state = CrmServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            found = [name for name in state.deals if query["term"][0] in name]
            items = [{"item": {"id": state.deals.index(name), "title": name}} for name in found]
            self._answer(200, {"success": True, "data": {"items": items}})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.tokens |= {self.headers.get("Authorization"), self.headers.get("x-api-token")}
            if self.path.endswith("/search"):
                wanted = body["filterGroups"][0]["filters"][0]["value"]
                found = [name for name in state.deals if name == wanted]
                results = [self._deal(name) for name in found]
                self._answer(200, {"total": len(results), "results": results})
                return
            state.bodies.append(body)
            fault = state.misbehave.popleft() if state.misbehave else None
            if isinstance(fault, int):
                self._answer(fault, {"status": "error", "message": "no"})
                return
            name = body["properties"]["dealname"] if "properties" in body else body["title"]
            state.deals.append(name)
            if fault == "cut":
                self.connection.close()
                return
            if "properties" in body:
                self._answer(201, self._deal(name))
            else:
                data = {"id": len(state.deals) - 1, "title": name}
                self._answer(201, {"success": True, "data": data})

        @staticmethod
        def _deal(name: str) -> dict[str, Any]:
            at = "2026-11-20T09:00:00Z"
            return {
                "id": str(state.deals.index(name)),
                "properties": {"dealname": name},
                "createdAt": at,
                "updatedAt": at,
                "archived": False,
            }

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.base_url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
