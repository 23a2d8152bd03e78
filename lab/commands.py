"""Running the programs of this machine: one place for their environment and their errors."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from lab.errors import LabError

# sbin is not on every root shell's PATH (su without -), but ip, nft and sysctl live there.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def environment() -> dict[str, str]:
    """A clean environment: nothing of the caller's (tokens, locale) reaches a lab process."""
    return {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/root"}


def attempt(
    argv: Sequence[str], *, input: str | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run `argv` to its end and hand back what it said, whatever its status.

    Raises:
        LabError: the program is not installed, or ran longer than `timeout` seconds.
    """
    try:
        return subprocess.run(
            list(argv),
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment(),
            cwd="/",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]} is not installed", do="see lab.missing()") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{' '.join(argv)}` did not end within {timeout:g} s") from error


def run(
    argv: Sequence[str], *, input: str | None = None, where: str = "", timeout: float = 60
) -> str:
    """Run `argv`, demand success, return its standard output.

    Raises:
        LabError: it failed; the error holds the command, its status and what it said.
    """
    done = attempt(argv, input=input, timeout=timeout)
    if done.returncode != 0:
        raise LabError(
            f"`{' '.join(argv)}` ended with status {done.returncode}",
            where=where,
            details=done.stderr or done.stdout,
        )
    return done.stdout


def cpus() -> int:
    return len(os.sched_getaffinity(0))
