"""State files are seen old or new, and a lock is never held by two."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.store import locked, read_json, write_atomic, write_json


def test_atomic_files(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert read_json(path) is None
    write_json(path, {"a": 1})
    write_json(path, {"a": 2})
    assert read_json(path) == {"a": 2}
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]
    with pytest.raises(UnicodeEncodeError):
        write_atomic(path, "\udc80")
    assert read_json(path) == {"a": 2}, "a failed write leaves the old"
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_a_broken_state_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    with pytest.raises(LabError, match=r"state\.json"):
        read_json(path)


def test_a_lock_goes_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    source = "import sys; from pathlib import Path; from lab.store import locked\n"
    source += "with locked(Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", source, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with locked(path, wait=False) as mine:
            assert not mine
    finally:
        holder.kill()
        holder.communicate()
    with locked(path, wait=False) as mine:
        assert mine


def test_holders_that_delete_the_lock_never_share_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        for _ in range(50):
            with locked(path):
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)
                path.unlink(missing_ok=True)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 300
    assert max(most) == 1
