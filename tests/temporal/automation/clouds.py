"""A cloud for tests: moto's EC2 server in a process of its own, behind a proxy that can misbehave."""

from __future__ import annotations

import http.client
import re
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from temporal.shared.specs.automation.creating import Create
from tests.temporal.support import Process, variables

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
REGION = "eu-central-1"
ERROR = "<Response><Errors><Error><Code>{}</Code><Message>{}</Message></Error></Errors></Response>"
Answer = tuple[int, str]


class Fault:
    """What the proxy does to the requests of one action, for as many of them as `times`.

    answer: is given in the place of the cloud's, which is not asked. drop: the cloud is asked, and its
    answer is lost. held: the cloud is asked, and its answer waits until that is set.
    """

    def __init__(
        self,
        times: int = 1,
        answer: Answer | None = None,
        drop: bool = False,
        held: threading.Event | None = None,
    ) -> None:
        self.left, self.answer, self.drop, self.held = times, answer, drop, held


class Proxy:
    """An HTTP proxy in front of the cloud. Counts what it is asked, by action."""

    def __init__(self, port: int) -> None:
        self.asked: dict[str, int] = {}
        self.seen: dict[str, str] = {}
        self.faults: dict[str, Fault] = {}
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                proxy.pass_on(self, port)

            do_POST = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def pass_on(self, request: BaseHTTPRequestHandler, port: int) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        found = re.search(r"Action=(\w+)", request.path + body.decode())
        action = found[1] if found else ""
        self.asked[action] = self.asked.get(action, 0) + 1
        self.seen[action] = request.path + body.decode()
        fault = self.faults.get(action)
        if fault is not None and fault.left > 0:
            fault.left -= 1
        else:
            fault = None
        if fault and fault.answer:
            status, text = fault.answer
        else:
            cloud = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            cloud.request(request.command, request.path, body, dict(request.headers))
            came = cloud.getresponse()
            # EC2's namespace has a slash at its end, which moto leaves out and libcloud insists on.
            status, text = (
                came.status,
                re.sub(r'(xmlns="[^"]+/doc/[\d-]+)"', r'\1/"', came.read().decode()),
            )
            cloud.close()
        if fault and fault.held:
            fault.held.wait(60)
        if fault and fault.drop:
            request.connection.shutdown(socket.SHUT_RDWR)
            request.close_connection = True
            return
        try:
            request.send_response(status)
            request.send_header("Content-Length", str(len(text.encode())))
            request.end_headers()
            request.wfile.write(text.encode())
        except OSError:
            pass  # who asked did not wait

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Cloud:
    """EC2 as moto has it. `spec` goes through the proxy; `servers` asks the cloud itself."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.proxy = Proxy(port)
        self._direct = Proxy(port)
        self._image = ""

    def place(self, **more: Any) -> dict[str, Any]:
        return {
            "provider": "ec2",
            "region": REGION,
            "credentials": {"key": "env://CLOUD_KEY", "secret": "env://CLOUD_SECRET"},
            "connection": {"host": "127.0.0.1", "port": self.proxy.port, "secure": False},
            **more,
        }

    def order(self, name: str = "web1", **more: Any) -> dict[str, Any]:
        # Its servers have addresses and no sshd: nobody is to go there, so the way is closed.
        more = {"login": {"jump": "nobody@127.0.0.1:1"}, **more}
        return self.place(name=name, size="t3.micro", image=self.image(), **more)

    def driver(self) -> Any:
        from libcloud.compute.providers import get_driver

        return get_driver("ec2")(
            "k", "s", region=REGION, host="127.0.0.1", port=self._direct.port, secure=False
        )

    def image(self) -> str:
        self._image = self._image or str(self.driver().list_images()[0].id)
        return self._image

    def servers(self) -> list[Any]:
        """Those that are there: neither gone nor going."""
        return [
            node
            for node in self.driver().list_nodes()
            if node.extra["status"] not in ("terminated", "shutting-down")
        ]

    def close(self) -> None:
        self.proxy.close()
        self._direct.close()

    def reset(self) -> None:
        self.proxy.asked.clear()
        self.proxy.faults.clear()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/moto-api/reset", method="POST"
        )
        urllib.request.urlopen(request, timeout=30).read()


@contextmanager
def running(folder: Path) -> Iterator[Cloud]:
    """A cloud of one's own, while it lasts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    moto = Process(argv, variables(folder, {}), folder / "moto.log", folder)
    try:
        _wait(lambda: _answers(port), moto)
        cloud = Cloud(port)
        try:
            yield cloud
        finally:
            cloud.close()
    finally:
        moto.popen.kill()
        moto.popen.wait()


def _wait(condition: Callable[[], bool], moto: Process) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert moto.popen.poll() is None and time.monotonic() < deadline, moto.output()
        time.sleep(0.05)


def _answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/data.json", timeout=5).read()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def whole_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("moto")) as cloud:
        yield cloud


@pytest.fixture
def cloud(whole_cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    whole_cloud.reset()
    monkeypatch.setenv("CLOUD_KEY", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("CLOUD_SECRET", SECRET)
    return whole_cloud


def order(value: dict[str, Any]) -> Any:
    return TypeAdapter(Create).validate_python(value)
