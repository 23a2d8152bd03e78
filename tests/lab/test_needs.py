"""What a machine lacks is said before anything starts, with what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab import Lab, LabMissing, missing
from lab.supervisor import log_tail


def test_every_reason_says_what_to_do() -> None:
    for reason in missing():
        assert ": " in reason


@pytest.mark.skipif(os.geteuid() != 0, reason="drops from root to nobody")
def test_without_root_it_says_so() -> None:
    source = "import os; from lab import missing\n"
    source += "os.setgid(65534); os.setuid(65534); print(missing())"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "root is needed" in done.stdout


def test_missing_programs_name_their_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("lab.needs.PATH", str(tmp_path))
    (reason,) = missing()
    assert "apt-get install" in reason
    for package in ("systemd-container", "mmdebstrap", "nftables"):
        assert package in reason
    with pytest.raises(LabMissing) as refused:
        Lab("never", root=tmp_path / "state").up(1)
    assert refused.value.reasons == [reason]
    assert not (tmp_path / "state").exists()


@pytest.mark.lab
def test_a_folder_that_cannot_hold_overlays_is_refused(tmp_path: Path) -> None:
    if missing():
        pytest.skip("; ".join(missing()))
    # An overlay's upper folder cannot lie on an overlay: what a container's root is.
    for part in ("lower", "upper", "work", "root"):
        (tmp_path / part).mkdir()
    script = """
    mount -t overlay x -o lowerdir=lower,upperdir=upper,workdir=work root &&
    exec "$1" -c 'from lab import missing; print(missing("root/state"))'
    """
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", sys.executable],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "no overlay mount" in done.stdout
    assert "TEMPORAL_LAB_ROOT" in done.stdout


def test_the_end_of_a_console_is_plain_text(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(
        b"old\n" * 30 + b"[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39mx\x1b[0m.\r\n\x00"
    )
    assert log_tail(log, 2) == "old\n[  OK  ] Started x."
    assert log_tail(tmp_path / "none") == ""
    log.write_bytes(b"cut\x1b[0;3")
    assert log_tail(log) == "cut"
