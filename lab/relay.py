"""A slow link: forwards TCP connections, everything in them late by half a round trip each way.

Latency is delayed, not throughput: what was sent together arrives together, late. A
connection is made as slowly as over such a link: the other side hears of it after a
round trip and a half. The kernel's netem would do the same; many kernels are built without.

Run as a program of its own, so that a busy caller delays nothing, on the standard
library alone. One line of JSON on standard input says what to relay, one line on
standard output says the ports; it ends when standard input does, so that it cannot
outlive who started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import selectors
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

# What a link holds before its sender is made to wait: 50 ms of it are 640 MB/s.
_HELD_BYTES = 32 * 1024 * 1024


class _Line:
    """One direction: chunks that fall due `delay` seconds after they came, in order."""

    def __init__(self, delay: float, deliver: Callable[[bytes | None], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._delay = delay
        self._deliver = deliver
        self._waiting: deque[tuple[float, bytes | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._open = True
        self._opens_at = 0.0
        self.held = 0

    def shut(self, seconds: float) -> None:
        """Deliver nothing until `open`; what comes within `seconds` counts as come after them."""
        self._open = False
        self._opens_at = self._loop.time() + seconds

    def open(self) -> None:
        self._open = True
        self._fire()

    def take(self, data: bytes | None) -> None:
        """Bytes that came in; None: that was all."""
        due = max(self._loop.time(), self._opens_at) + self._delay
        self._waiting.append((due, data))
        self.held += len(data or b"")
        if self._timer is None and self._open:
            self._timer = self._loop.call_at(due, self._fire)

    def _fire(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._loop.time()
        while self._waiting and self._waiting[0][0] <= now:
            _, data = self._waiting.popleft()
            self.held -= len(data or b"")
            self._deliver(data)
        if self._waiting:
            self._timer = self._loop.call_at(self._waiting[0][0], self._fire)

    def drop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.clear()


class _End(asyncio.Protocol):
    """One side's socket; what it receives goes onto `line` towards `other`."""

    transport: asyncio.Transport

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.line = _Line(delay, self._deliver)
        self.other: _End | None = None
        self._paused = False
        self._closed = False
        self._came = self._said = False
        """Has either direction ended?"""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.line.take(data)
        if self.line.held > _HELD_BYTES and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self.line.take(None)
        self._came = True
        return not self._said  # the other direction may go on

    def connection_lost(self, error: Exception | None) -> None:
        self._closed = True
        if error is None:
            self.line.take(None)
        elif self.other is not None:
            # A reset is news as well, and as late as any.
            loop = asyncio.get_running_loop()
            loop.call_later(self.delay, self.other.abort)

    def pause_writing(self) -> None:
        if self.other is not None and not self.other._paused:
            self.other._paused = True
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.go_on()

    def go_on(self) -> None:
        if self._paused and not self._closed:
            self._paused = False
            self.transport.resume_reading()

    def abort(self) -> None:
        self.line.drop()
        self.transport.abort()

    def _deliver(self, data: bytes | None) -> None:
        if self.other is None or self.other._closed:
            return
        if data is not None:
            self.other.transport.write(data)
        elif self._closed or self.other._came:
            self.other.transport.close()
        else:
            self.other._said = True
            with contextlib.suppress(OSError):
                self.other.transport.write_eof()
        if self.line.held <= _HELD_BYTES // 2 and self.other.transport.get_write_buffer_size() == 0:
            self.go_on()


@dataclass(frozen=True)
class _Target:
    address: str
    port: int
    delay: float

    def accept(self) -> _End:
        """What the caller's side of a new connection is served by."""
        near = _End(self.delay)
        loop = asyncio.get_running_loop()
        # Over the real link the caller could speak after one round trip.
        near.line.shut(2 * self.delay)
        loop.call_later(3 * self.delay, lambda: _keep(loop.create_task(self._reach(near))))
        return near

    async def _reach(self, near: _End) -> None:
        loop = asyncio.get_running_loop()
        try:
            make = partial(_End, self.delay)
            _, far = await loop.create_connection(make, self.address, self.port)
        except OSError:
            near.abort()
            return
        near.other, far.other = far, near
        near.line.open()


_tasks: set[asyncio.Task[None]] = set()


def _keep(task: asyncio.Task[None]) -> None:
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def _serve(order: dict[str, object]) -> None:
    loop = asyncio.get_running_loop()
    targets, delay = order["targets"], order["delay"]
    assert isinstance(targets, list) and isinstance(delay, float)
    ports = []
    for address, port in targets:
        target = _Target(str(address), int(port), delay)
        server = await loop.create_server(target.accept, str(order["listen"]), 0, backlog=256)
        ports.append(server.sockets[0].getsockname()[1])
    print(json.dumps(ports), flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)  # nothing more is said on it: this is its end
    await ended.wait()


def main() -> None:
    order = json.loads(sys.stdin.buffer.readline())
    # epoll's timeouts are whole milliseconds, rounded up; select's are not, and its limit of
    # 1,024 files is enough for 500 connections.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    loop.run_until_complete(_serve(order))


if __name__ == "__main__":
    main()
