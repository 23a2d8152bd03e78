"""known_hosts as it grows: what is read again, and what is not."""

from __future__ import annotations

from pathlib import Path

import asyncssh
import pytest

from converge.transport import hostkeys
from converge.transport.hostkeys import MOST_KEPT, _append, _read, _stat


def line(name: str) -> str:
    key = asyncssh.generate_private_key("ssh-ed25519")
    return f"{name} {key.export_public_key().decode().strip()}\n"


def read(*paths: Path) -> asyncssh.SSHKnownHosts:
    found = [(path, _stat(str(path))) for path in paths]
    return _read(tuple((str(p), s.st_mtime_ns, s.st_size) for p, s in found if s is not None))


def count(known: asyncssh.SSHKnownHosts, name: str) -> int:
    return len(known.match(name, "", None)[0])


def test_what_is_added_is_added_and_the_rest_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, system = tmp_path / "known_hosts", tmp_path / "system"
    mine.write_text(line("one"))
    system.write_text(line("one"))
    first = read(mine, system)
    assert count(first, "one") == 2 and read(mine, system) is first
    anew = []
    whole = asyncssh.import_known_hosts
    monkeypatch.setattr(asyncssh, "import_known_hosts", lambda t: anew.append(t) or whole(t))
    for number in range(50):
        _append(mine, line(f"new{number}"))
        now = read(mine, system)
        assert now is first and count(now, f"new{number}") == 1
    assert count(first, "one") == 2 and not anew
    # Anything but lines at the end: everything again.
    mine.write_text(line("two"))
    now = read(mine, system)
    assert now is not first and len(anew) == 1
    assert (count(now, "one"), count(now, "two"), count(now, "new1")) == (1, 1, 0)
    mine.write_text(line("two").rstrip())  # a last line without an end may go on
    read(mine, system)
    mine.write_text(mine.read_text() + "\n" + line("three"))
    assert count(read(mine, system), "three") == 1 and len(anew) == 3


def test_a_bad_line_is_refused_again_and_again(tmp_path: Path) -> None:
    mine = tmp_path / "known_hosts"
    mine.write_text(line("one"))
    read(mine)
    _append(mine, "nonsense\n")
    for _ in range(2):
        with pytest.raises(ValueError, match="nonsense"):
            read(mine)


def test_few_are_kept(tmp_path: Path) -> None:
    for number in range(MOST_KEPT + 5):
        path = tmp_path / f"known_{number}"
        path.write_text(line("one"))
        read(path)
    assert len(hostkeys._kept) == MOST_KEPT
