"""Programs that are measured: started with nothing set but what is said, and always ended."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
READY_S = 60.0


def command() -> list[str]:
    """`temporal-ops` as installed beside this Python, else as a module."""
    installed = Path(sys.executable).parent / "temporal-ops"
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "temporal"]


def environment(folder: Path, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """This environment without settings, state in `folder`, and `env` on top.

    The queue is its own: a worker of somebody else's that finds our server on the usual port would
    do a part of the work, with its own code. Python may keep the bytecode of our sources, as it has
    that of every installed package.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TEMPORAL_") and name != "PYTHONDONTWRITEBYTECODE"
    }
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "TEMPORAL_STATE_DIR": str(folder / "state"),
        "TEMPORAL_TASK_QUEUE": f"benchmark-{os.getpid()}",
        **(env or {}),
    }


@contextlib.contextmanager
def running(argv: list[str], env: Mapping[str, str], ready: str) -> Iterator[subprocess.Popen[str]]:
    """`argv` from when a line of its output has `ready` in it, until the end of the block.

    Raises:
        RuntimeError: it ended, or was not ready within a minute; shows what it said.
    """
    process = subprocess.Popen(
        argv, env=dict(env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said: queue.Queue[str | None] = queue.Queue()
    assert process.stdout is not None
    threading.Thread(target=_read, args=(process, said), daemon=True).start()
    seen: list[str] = []
    try:
        while True:
            try:
                line = said.get(timeout=READY_S)
            except queue.Empty:
                line = None
            if line is None:
                raise RuntimeError(f"{' '.join(argv)} was never ready:\n{''.join(seen)}")
            seen.append(line)
            if ready in line:
                break
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _read(process: subprocess.Popen[str], into: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        into.put(line)
    into.put(None)
