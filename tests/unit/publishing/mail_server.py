"""A mail server on loopback that keeps what it gets, and misbehaves on demand."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage


@dataclass
class MailServer:
    """What arrived, and what to answer instead of `250 ok` to a command."""

    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    """By command; `cut` breaks the connection there. `BODY` is the end of the mail's content."""
    port: int = 0

    @property
    def url(self) -> str:
        """What SMTP_URL is to be."""
        return f"smtp://leakage%40acme.example:secret@127.0.0.1:{self.port}"


class _Session(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self._say("220 ready")
        while line := self.rfile.readline():
            command = line.split()[0].decode().upper()
            if not self._answer(command, line):
                return

    def _answer(self, command: str, line: bytes) -> bool:
        server: MailServer = self.server.state  # type: ignore[attr-defined]
        stated = server.answers.get(command)
        if stated == "cut":
            return False
        if stated:
            self._say(stated)
        elif command == "EHLO":
            self._say("250-here\r\n250 AUTH PLAIN")
        elif command == "AUTH":
            self._say("235 welcome")
        elif command == "DATA":
            self._say("354 go on")
            return self._take(server)
        else:
            if command == "RCPT":
                server.recipients.append(line.split(b"<")[1].split(b">")[0].decode())
            self._say("221 bye" if command == "QUIT" else "250 ok")
        return command != "QUIT"

    def _take(self, server: MailServer) -> bool:
        content = b""
        while (line := self.rfile.readline()) != b".\r\n":
            content += line
        server.mails.append(message_from_bytes(content, policy=policy.default))
        if server.answers.get("BODY") == "cut":
            return False
        self._say(server.answers.get("BODY", "250 taken"))
        return True

    def _say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")


@contextmanager
def serve() -> Iterator[MailServer]:
    """Run a mail server until the block ends."""
    state = MailServer()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Session) as server:
        server.daemon_threads = True
        server.state = state  # type: ignore[attr-defined]
        state.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield state
        server.shutdown()
