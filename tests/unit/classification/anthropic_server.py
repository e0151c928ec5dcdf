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
    """A running server: where it is, what it was asked, and how its batches behave."""

    base_url: str
    requests: list[dict[str, Any]]
    """Questions asked directly."""
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Batches that were made, by id: `requests` and `created`."""
    calls: list[str] = field(default_factory=list)
    batch_replies: list[Reply | None] = field(default_factory=list)
    """Instead of the usual answer to the next creations; None: the usual one."""
    lose_answer: bool = False
    """Make the batch all the same when a planned reply goes out."""
    results_replies: list[Reply] = field(default_factory=list)
    running: bool = False
    """Whether batches are still being worked on."""
    kinds: dict[int, str] = field(default_factory=dict)
    """By position in the batch: errored, canceled or expired instead of succeeded."""

    @property
    def sent(self) -> str:
        """Everything that was sent, as one text."""
        return json.dumps([self.requests, list(self.batches.values())], ensure_ascii=False)

    @property
    def asked(self) -> int:
        """How many questions were asked, directly or in batches."""
        return len(self.requests) + sum(len(b["requests"]) for b in self.batches.values())


def _batch_json(server: Server, remote_id: str) -> dict[str, Any]:
    count = len(server.batches[remote_id]["requests"])
    at = "2026-11-20T06:00:00Z"
    counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
    counts["processing" if server.running else "succeeded"] = count
    results = (
        None if server.running else f"{server.base_url}/v1/messages/batches/{remote_id}/results"
    )
    return {
        "id": remote_id,
        "type": "message_batch",
        "processing_status": "in_progress" if server.running else "ended",
        "request_counts": counts,
        "created_at": at,
        "expires_at": at,
        "ended_at": None if server.running else at,
        "archived_at": None,
        "cancel_initiated_at": None,
        "results_url": None if server.running else results,
    }


def _results(server: Server, remote_id: str, script: Script | Reply) -> bytes:
    lines = []
    for number, request in enumerate(server.batches[remote_id]["requests"]):
        kind = server.kinds.get(number, "succeeded")
        result: dict[str, Any] = {"type": kind}
        if kind == "succeeded":
            reply = script if isinstance(script, Reply) else script(request["params"], number)
            result["message"] = reply.body
        elif kind == "errored":
            inner = {"type": "invalid_request_error", "message": "scripted"}
            result["error"] = {"type": "error", "error": inner}
        lines.append({"custom_id": request["custom_id"], "result": result})
    # In no particular order, as the API says.
    return "".join(json.dumps(line) + "\n" for line in reversed(lines)).encode()


class _Handler(BaseHTTPRequestHandler):
    server: "_Listener"

    def do_POST(self) -> None:
        state, script = self.server.state, self.server.script
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        state.calls.append(f"POST {self.path}")
        if self.path.endswith("/batches"):
            self._answer(self._create(state, body))
            return
        with self.server.lock:
            state.requests.append(body)
            number = len(state.requests) - 1
        self._answer(script if isinstance(script, Reply) else script(body, number))

    def do_GET(self) -> None:
        state = self.server.state
        path = self.path.split("?")[0]
        state.calls.append(f"GET {path}")
        parts = path.strip("/").split("/")
        if parts[-1] == "batches":
            listed = [_batch_json(state, key) for key in reversed(state.batches)]
            self._answer(Reply({"data": listed, "has_more": False}))
        elif parts[-1] == "results":
            planned = state.results_replies.pop(0) if state.results_replies else None
            usual = Reply(None, raw=_results(state, parts[-2], self.server.script))
            self._answer(planned or usual)
        elif parts[-1] in state.batches:
            self._answer(Reply(_batch_json(state, parts[-1])))
        else:
            self._answer(error(404, "not_found_error"))

    def _create(self, state: Server, body: dict[str, Any]) -> Reply:
        planned = state.batch_replies.pop(0) if state.batch_replies else None
        if planned is not None and not state.lose_answer:
            return planned
        remote_id = f"msgbatch_{len(state.batches):04d}"
        state.batches[remote_id] = body
        return planned or Reply(_batch_json(state, remote_id))

    def _answer(self, reply: Reply) -> None:
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


class _Listener(ThreadingHTTPServer):
    def __init__(self, script: Script | Reply) -> None:
        self.script = script
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)
        self.state = Server(f"http://127.0.0.1:{self.server_address[1]}", [])


@contextmanager
def serve(script: Script | Reply) -> Iterator[Server]:
    """Serve `script(request, number)`, or the same reply to everything, batches included."""
    listener = _Listener(script)
    thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield listener.state
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()
