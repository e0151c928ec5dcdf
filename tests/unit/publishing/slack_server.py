"""An HTTP server on loopback that speaks Slack's Web API for one channel and misbehaves."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs


@dataclass(frozen=True)
class Reply:
    """An answer instead of the usual one. `hang_up` drops the connection without a word."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    hang_up: bool = False
    cut: bool = False
    """The connection breaks in mid-answer."""
    after_posting: bool = False
    """The message arrives all the same; only the answer goes wrong."""


@dataclass
class Slack:
    """A running server: where it is, what is in the channel, how it answers the next posts."""

    base_url: str
    messages: list[dict[str, Any]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    post_replies: list[Reply] = field(default_factory=list)
    history_error: str | None = None
    channel: str = "revenue-leakage"

    def texts(self, channel: str | None = None) -> list[str]:
        """What was posted, oldest first, all blocks of a message as one text."""
        return [
            json.dumps(m["blocks"], ensure_ascii=False)
            for m in reversed(self.messages)
            if channel in (None, m["channel"])
        ]


@contextmanager
def serve() -> Iterator[Slack]:
    """Serve chat.postMessage, conversations.list and conversations.history."""
    slack = Slack("")
    server = _Server(slack)
    slack.base_url = f"http://127.0.0.1:{server.server_address[1]}/api/"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield slack
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    def __init__(self, slack: Slack) -> None:
        self.slack = slack
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"

    def do_POST(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        slack = self.server.slack
        method = self.path.split("?")[0].rsplit("/", 1)[-1]
        slack.calls.append(method)
        raw = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        reply = getattr(self, "_" + method.replace(".", "_"))(slack, raw)
        if reply.hang_up:
            self.close_connection = True
            return
        text = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
        payload = text.encode()
        self.send_response(reply.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(payload) * (2 if reply.cut else 1)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def _chat_postMessage(self, slack: Slack, raw: str) -> Reply:  # noqa: N802
        planned = slack.post_replies.pop(0) if slack.post_replies else None
        if planned is not None and not planned.after_posting:
            return planned
        stamp = f"1700000000.{len(slack.messages):06d}"
        slack.messages.insert(0, {**json.loads(raw), "ts": stamp})
        return planned or Reply(body={"ok": True, "ts": stamp, "channel": "C0REVENUE"})

    def _conversations_replies(self, slack: Slack, raw: str) -> Reply:
        if slack.history_error:
            return Reply(body={"ok": False, "error": slack.history_error})
        (thread,) = parse_qs(raw)["ts"]
        found = [m for m in slack.messages if thread in (m["ts"], m.get("thread_ts"))]
        return Reply(body={"ok": True, "messages": found})

    def _conversations_list(self, slack: Slack, _raw: str) -> Reply:
        channels = [{"id": "C0REVENUE", "name": slack.channel}]
        return Reply(body={"ok": True, "channels": channels, "response_metadata": {}})

    def _conversations_history(self, slack: Slack, raw: str) -> Reply:
        if slack.history_error:
            return Reply(body={"ok": False, "error": slack.history_error})
        assert parse_qs(raw)["channel"] == ["C0REVENUE"]
        roots = [m for m in slack.messages if "thread_ts" not in m]
        return Reply(body={"ok": True, "messages": roots})

    def log_message(self, *_: object) -> None:
        """Stay silent."""
