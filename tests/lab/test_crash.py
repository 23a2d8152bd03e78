"""A killed starter leaves nothing that the next up, down or gc does not mend."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import Lab, gc, missing
from lab.base import ensure
from lab.machine import Record
from lab.processes import alive
from lab.testing import LabMaker, eventually
from lab.traces import nothing_left, traces

pytestmark = pytest.mark.lab

_UP = """\
import sys
from lab import Lab
lab = Lab(sys.argv[1], owner=int(sys.argv[2]) or None)
lab.up(int(sys.argv[3]), on_event=lambda event: print(event, flush=True))
print("done", flush=True)
sys.stdin.read()
"""


def starter(lab: Lab, count: int, owner: int | str = 0) -> subprocess.Popen[str]:
    """Another process that brings `lab` up; prints events and stays until killed."""
    source = (
        _UP if owner != "self" else "import os\n" + _UP.replace("int(sys.argv[2])", "os.getpid()")
    )
    return subprocess.Popen(
        [sys.executable, "-c", source, lab.name, str(0 if owner == "self" else owner), str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def records(lab: Lab) -> list[Record]:
    folders = (lab.folder / "machines").glob("*")
    return [found for folder in folders if (found := Record.read(folder)) is not None]


MOMENTS: dict[str, Callable[[Lab], bool]] = {
    "lab made": lambda lab: (lab.folder / "lab.json").exists(),
    "server recorded": lambda lab: bool(records(lab)),
    "group made": lambda lab: any(record.group().exists() for record in records(lab)),
    "supervisor started": lambda lab: any(record.process for record in records(lab)),
    "one server up": lambda lab: any(record.ready for record in records(lab)),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_in_the_middle_of_up(make_lab: LabMaker, moment: str) -> None:
    lab = make_lab("crash")
    process = starter(lab, 2)
    try:
        eventually(lambda: MOMENTS[moment](lab), moment, seconds=120)
    finally:
        kill(process)
    servers = lab.up(2)
    assert [one.state for one in servers] == ["running", "running"]
    for one in servers:
        assert subprocess.run(one.ssh_command("true"), check=False).returncode == 0
    lab.down()
    eventually(lambda: nothing_left(lab), f"no trace of the lab: {traces(lab)}")


def test_down_alone_cleans_after_a_kill(make_lab: LabMaker) -> None:
    lab = make_lab("crash")
    process = starter(lab, 3)
    try:
        eventually(lambda: MOMENTS["supervisor started"](lab), "a supervisor", seconds=120)
    finally:
        kill(process)
    lab.down()
    eventually(lambda: nothing_left(lab), f"no trace of the lab: {traces(lab)}")


def test_servers_outlive_their_starter_and_its_terminal(make_lab: LabMaker) -> None:
    lab = make_lab("outlive")
    process = starter(lab, 1)
    try:
        assert process.stdout is not None
        assert any(line == "done\n" for line in process.stdout)
    finally:
        # The whole process group, as a closing terminal or a Ctrl-C does.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    (server,) = lab.machines()
    assert server.state == "running"
    (record,) = records(lab)
    assert record.process is not None
    assert alive(record.process), "its supervisor, which brings it back after a reboot"
    assert subprocess.run(server.ssh_command("true"), check=False).returncode == 0


def test_a_lab_whose_owner_died_is_collected_and_others_are_not(make_lab: LabMaker) -> None:
    orphan, mine = make_lab("orphan", owner=0), make_lab("mine")
    mine.up(1)
    process = starter(orphan, 1, owner="self")
    try:
        eventually(lambda: MOMENTS["supervisor started"](orphan), "a supervisor", seconds=120)
        gc()
        assert orphan.folder.exists(), "its owner lives: not ours to collect"
    finally:
        kill(process)
    gc()
    eventually(lambda: nothing_left(orphan), f"no trace of the orphan: {traces(orphan)}")
    assert [one.state for one in mine.machines()] == ["running"]


def test_gc_finds_a_lab_whose_folder_was_deleted(make_lab: LabMaker) -> None:
    lab = make_lab("lost")
    (server,) = lab.up(1)
    eventually(lambda: lab.machine(server.name).state == "running", "up")
    lab.folder.rename(lab.folder.with_name(f".deleted-{os.getpid()}"))
    try:
        gc()
    finally:
        deleted = lab.folder.with_name(f".deleted-{os.getpid()}")
        subprocess.run(["rm", "-rf", str(deleted)], check=True)
    eventually(lambda: nothing_left(lab), f"no trace of the lab: {traces(lab)}")


def test_killed_while_it_builds_the_image(tmp_path: Path) -> None:
    if reasons := missing():
        pytest.skip("; ".join(reasons))
    source = "import sys; from pathlib import Path; from lab.base import ensure\n"
    source += "ensure(Path(sys.argv[1]), 'bookworm', print)"
    process = subprocess.Popen([sys.executable, "-c", source, str(tmp_path)], text=True)

    def building() -> list[str]:
        found = []
        for one in Path("/proc").iterdir():
            try:
                command = (one / "cmdline").read_bytes().decode("utf-8", "replace")
                root = (one / "root").readlink()
            except OSError:
                continue
            if str(tmp_path) in command or str(root).startswith(str(tmp_path)):
                found.append(f"{one.name} {command}")
        return [line for line in found if not line.startswith(f"{process.pid} ")]

    try:
        eventually(lambda: any("mmdebstrap" in line for line in building()), "mmdebstrap runs")
        eventually(lambda: any(tmp_path.glob("base/.bookworm-*/tree/usr")), "files unpacked", 120)
    finally:
        process.kill()
        process.wait()
    eventually(lambda: not building(), "the builder ended with who started it")
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
    assert not list(tmp_path.glob("base/bookworm-*")), "nothing half-built under a final name"
    image = ensure(tmp_path, "bookworm", lambda event: None)
    assert [path.name for path in (tmp_path / "base").iterdir()] == [image.name]
    assert (image / "usr/sbin/sshd").exists()
