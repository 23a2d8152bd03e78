"""`make demo` for somebody without root: no lab, and still a run of the real thing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.temporal.cli.support import network_of_its_own
from tests.temporal.support import ROOT

NOBODY = 65534
# The interpreter may lie where only root may look: reading is allowed, nothing else is.
AS_NOBODY = [
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the tree that belongs to the one who runs it."""
    for name in ("temporal", "converge", "lab", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    if os.geteuid() == 0:
        for path in (tmp_path, *tmp_path.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    return tmp_path


def test_without_a_lab_it_says_what_is_missing_and_shows_the_rest(checkout: Path) -> None:
    # Names of others' settings and of a desktop must not decide how it goes.
    env = {"PATH": os.environ["PATH"], "HOME": str(checkout), "LANG": "C.UTF-8"}
    env |= {"PYTHONPATH": str(checkout), "TEMPORAL_CONFIG_FILE": ""}
    done = subprocess.run(
        [
            *(network_of_its_own() if os.geteuid() == 0 else []),
            *(AS_NOBODY if os.geteuid() == 0 else []),
            *(sys.executable, "-m", "examples.demo"),
        ],
        cwd=checkout,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    out = done.stdout
    assert done.returncode == 0, f"{out}\n{done.stderr}"
    assert "Hello, World!" in out
    assert "No lab server can run here:\n  - root is needed" in out
    first, again = out.split("Once more: nothing to do")
    assert "local: 1 changed" in first
    assert "nothing changed: it already was as wanted" in again
    assert "It is as it was declared." in again
    assert again.count("ProvisionServer-") == 2 and "completed" in again, "the list of runs"
    assert "Traceback" not in done.stderr and "stop now" in out
    left = subprocess.run(["pgrep", "-f", str(checkout)], capture_output=True, check=False)
    assert not left.stdout, "server and worker ended with it"
