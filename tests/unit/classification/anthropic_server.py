"""An HTTP server on loopback that speaks the Messages API and misbehaves as it is told."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GOOD = {
    "category": "technical_error",
    "next_action": "fix_metering",
    "confidence": 0.87,
    "rationale": "expected_quantity is 500000 and billed_quantity is 460000, so the meter lags.",
    "evidence_fields": ["expected_quantity", "billed_quantity"],
    "draft_subject": None,
    "draft_body": None,
}


@dataclass(frozen=True)
class Reply:
    """One answer of the server."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    """Sent instead of the body as JSON."""
    promised: int = 0
    """Bytes more than are sent: the connection is cut in mid-answer."""


def message(answer: Any, *, stop_reason: str = "end_turn") -> Reply:
    """A message whose text is this answer: JSON of an object, or the text itself."""
    text = answer if isinstance(answer, str) else json.dumps(answer)
    body = {
        "id": "msg_scripted",
        "type": "message",
        "role": "assistant",
        "model": "scripted",
        "content": [{"type": "text", "text": text}],
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 900, "output_tokens": 120},
    }
    return Reply(body)


def error(status: int, kind: str, headers: dict[str, str] | None = None) -> Reply:
    """An error in the API's own form. The wait it asks for keeps tests quick."""
    body = {"type": "error", "error": {"type": kind, "message": "scripted"}}
    return Reply(body, status, {"retry-after-ms": "1", **(headers or {})})


Script = Callable[[dict[str, Any], int], Reply]


@dataclass
class Server:
    """A running server: where it is, and what it was asked."""

    base_url: str
    requests: list[dict[str, Any]]

    @property
    def sent(self) -> str:
        """Everything that was sent, as one text."""
        return json.dumps(self.requests, ensure_ascii=False)


@contextmanager
def serve(script: Script | Reply) -> Iterator[Server]:
    """Serve `script(request, number)`, or the same reply to everything."""
    requests: list[dict[str, Any]] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            request = json.loads(self.rfile.read(length))
            with lock:
                requests.append(request)
                number = len(requests) - 1
            reply = script if isinstance(script, Reply) else script(request, number)
            payload = json.dumps(reply.body).encode() if reply.raw is None else reply.raw
            self.send_response(reply.status)
            kind = "text/html" if payload.startswith(b"<") else "application/json"
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(payload) + reply.promised))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_address[1]}", requests)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
