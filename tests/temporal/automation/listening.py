"""Listeners on the loopback address for tests: HTTP, and mail as RFC 5321 has it."""

from __future__ import annotations

import contextlib
import http.server
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Web:
    """What was asked, and what is answered: status and body by path; 404 for others."""

    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@contextlib.contextmanager
def web() -> Iterator[Web]:
    kept = Web()

    class Handler(http.server.BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            kept.asked.append(
                Asked(self.command, self.path, dict(self.headers), self.rfile.read(length))
            )
            path = self.path.partition("?")[0]
            if path in kept.redirects:
                self.send_response(302)
                self.send_header("Location", kept.redirects[path])
                self.end_headers()
                return
            status, body = kept.answers.get(path, (404, ""))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = _answer

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.port = server.server_port
    with _serving(server):
        yield kept


@dataclass
class Mail:
    """What came by mail, to whom, and who logged in."""

    port: int = 0
    messages: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)


@contextlib.contextmanager
def mail() -> Iterator[Mail]:
    kept = Mail()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 mail.test ESMTP")
            for line in iter(self.rfile.readline, b""):
                verb, _, rest = line.decode().strip().partition(" ")
                match verb.upper():
                    case "EHLO":
                        self._say("250-mail.test", "250-AUTH PLAIN", "250 8BITMIME")
                    case "AUTH":
                        kept.logins.append(rest)
                        self._say("235 2.7.0 welcome")
                    case "RCPT":
                        kept.recipients.append(rest)
                        self._say("250 2.1.5 ok")
                    case "DATA":
                        self._say("354 go on")
                        kept.messages.append(self._data())
                        self._say("250 2.0.0 taken")
                    case "QUIT":
                        self._say("221 2.0.0 bye")
                        return
                    case "HELO" | "MAIL" | "RSET" | "NOOP":
                        self._say("250 ok")
                    case _:
                        self._say("502 5.5.2 not known here")

        def _say(self, *lines: str) -> None:
            self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())

        def _data(self) -> EmailMessage:
            raw = b""
            while (line := self.rfile.readline()) not in (b".\r\n", b""):
                raw += line.removeprefix(b".")
            found = message_from_bytes(raw, policy=policy.default)
            assert isinstance(found, EmailMessage)
            return found

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    kept.port = server.server_address[1]
    with _serving(server):
        yield kept


@contextlib.contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
