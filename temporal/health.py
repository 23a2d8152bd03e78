"""What a worker says of its health, over HTTP: /livez, /readyz, /metrics.

    /livez    200 while the event loop turns: it runs activities and heartbeats
    /readyz   200 while the core polls every queue: its own count of pollers, not the last run's luck
    /metrics  metrics of the core, the process and activities, in Prometheus's text form

Answers come from a thread of their own, so that a stuck event loop is reported, not shared.
"""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from temporal.shared.errors import ConfigError
from temporal.shared.metrics import REGISTRY

LOOP_TIMEOUT_S = 5.0
_CORE_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Answer:
    """Status, content type and body of one HTTP answer."""

    status: int
    kind: str
    body: bytes


class Health:
    """Serves the health of one worker process until closed.

    Args:
        address: host:port to listen on; port 0 takes any free one.
        core_metrics: host:port of the SDK core's own Prometheus end point.
        queues: the task queues that must be polled.
        build: version of the code, shown as a label.

    Raises:
        ConfigError: the address is taken or not ours.
    """

    def __init__(self, address: str, core_metrics: str, queues: list[str], build: str) -> None:
        self._core = f"http://{core_metrics}/metrics"
        self._queues = queues
        self._loop = asyncio.get_running_loop()
        self._own = CollectorRegistry()
        ProcessCollector(registry=self._own)
        info = Gauge("temporal_ops_worker_info", "Always 1", ["build_id"], registry=self._own)
        info.labels(build).set(1)
        self.draining = False
        host, _, port = address.rpartition(":")
        try:
            self._server = ThreadingHTTPServer((host, int(port)), self._handler())
        except OSError as error:
            raise ConfigError(
                f"TEMPORAL_HEALTH_ADDRESS={address}: {error.strerror}. "
                "Choose another, or port 0 for any free one."
            ) from None
        self._server.daemon_threads = True
        self.address = f"{host}:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="health", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()

    def livez(self) -> Answer:
        """Whether the event loop turns."""
        turned = threading.Event()
        self._loop.call_soon_threadsafe(turned.set)
        if turned.wait(LOOP_TIMEOUT_S):
            return _json(200, {"alive": True})
        return _json(
            503, {"alive": False, "why": f"the event loop did not turn for {LOOP_TIMEOUT_S:.0f} s"}
        )

    def readyz(self) -> Answer:
        """Whether every queue is polled."""
        if self.draining:
            return _json(503, {"ready": False, "why": "draining"})
        try:
            counts = pollers(self._core_text())
        except (OSError, ValueError) as error:
            return _json(503, {"ready": False, "why": f"the core's metrics do not answer: {error}"})
        idle = [queue for queue in self._queues if not counts.get(queue)]
        return _json(
            503 if idle else 200,
            {"ready": not idle, "pollers": counts, **({"not_polled": idle} if idle else {})},
        )

    def metrics(self) -> Answer:
        """The core's metrics, our own, and those of activities."""
        try:
            core = self._core_text().encode()
        except OSError:
            core = b""
        kind = "text/plain; version=0.0.4; charset=utf-8"
        own = generate_latest(self._own) + generate_latest(REGISTRY)
        return Answer(200, kind, core + own)

    def _core_text(self) -> str:
        with urllib.request.urlopen(self._core, timeout=_CORE_TIMEOUT_S) as answer:
            return str(answer.read().decode())

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        routes = {"/livez": self.livez, "/readyz": self.readyz, "/metrics": self.metrics}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                route = routes.get(self.path.partition("?")[0])
                answer = route() if route else _json(404, {"paths": sorted(routes)})
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.kind)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, format: str, *args: object) -> None:
                """A probe every few seconds is no news."""

        return Handler


def pollers(text: str) -> dict[str, int]:
    """Pollers for each task queue, from the core's metrics in Prometheus's text form.

    The smaller count of workflow and activity pollers where a queue has both, since a worker that
    polls for one kind alone is not ready.
    """
    found: dict[str, dict[str, int]] = {}
    for queue, kind, count in _poller_samples(text.splitlines()):
        if "sticky" not in kind:
            found.setdefault(queue, {})[kind] = count
    return {queue: min(kinds.values()) for queue, kinds in sorted(found.items())}


def _poller_samples(lines: Iterable[str]) -> Iterator[tuple[str, str, int]]:
    wanted = "\n".join(line for line in lines if "num_pollers" in line)
    for family in text_string_to_metric_families(wanted + "\n"):
        for sample in family.samples:
            labels = sample.labels
            yield labels.get("task_queue", ""), labels.get("poller_type", ""), int(sample.value)


def _json(status: int, value: dict[str, object]) -> Answer:
    return Answer(status, "application/json", json.dumps(value).encode() + b"\n")
