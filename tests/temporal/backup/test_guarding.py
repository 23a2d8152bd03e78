"""Whether a restic does anything any more is seen from what its process did: on real processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from temporal.activities.backup import restic_sh
from tests.temporal.cli.support import until

BUSY = "while True: pass"
READING = "import time\nwhile True: open('/proc/self/maps').read(); time.sleep(0.01)"
TALKING = """
import os, time
there, here = os.pipe()
while True: os.write(here, b'x' * 4000); os.read(there, 4000); time.sleep(0.01)
"""
SILENT = "import time\ntime.sleep(1000)"


@contextmanager
def process(code: str) -> Iterator[subprocess.Popen[bytes]]:
    running = subprocess.Popen(
        [sys.executable, "-c", f"print('begun', flush=True)\n{code}"], stdout=subprocess.PIPE
    )
    try:
        assert running.stdout is not None and running.stdout.readline() == b"begun\n"
        yield running
    finally:
        running.kill()
        running.wait()
        if running.stdout is not None:
            running.stdout.close()


def sh(kind: str, script: str, *arguments: str) -> str:
    text = f"place_kind={kind} still=3 look=1\n{restic_sh._GUARD}\n{script}"
    done = subprocess.run(
        ["sh", "-c", text, "sh", *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def did(kind: str, running: subprocess.Popen[bytes]) -> int:
    return int(sh(kind, 'did "$1"; echo "$did_here"', str(running.pid)))


@pytest.mark.parametrize(
    ("kind", "code"),
    [("local", BUSY), ("local", READING), ("s3", BUSY), ("sftp", TALKING)],
    ids=["busy", "reading", "busy elsewhere", "talking elsewhere"],
)
def test_one_that_works_reads_or_talks_does_something(kind: str, code: str) -> None:
    with process(code) as running:
        before = did(kind, running)
        until(
            lambda: did(kind, running) > before + 20,
            lambda: f"{did(kind, running)} after {before}",
        )


@pytest.mark.parametrize("kind", ["local", "rest"])
def test_one_that_does_nothing_is_ended_and_one_that_has_ended_is_left(
    kind: str, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    with process(SILENT) as running:
        mark.write_text(f"{running.pid}\n")
        sh(kind, 'T=$1; guard "$1/mark"', str(tmp_path))
        assert running.wait() != 0 and (tmp_path / "still").exists()
        (tmp_path / "still").unlink()
        sh(kind, 'T=$1; guard "$1/mark"', str(tmp_path))
        assert not (tmp_path / "still").exists()
