"""Servers that really run: logging in, the network between them, apt, faults, going away."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab import Lab, LabError, Machine
from lab.machine import Record
from lab.testing import FreshServer, LabMaker, Servers, eventually
from lab.traces import nothing_left, traces

pytestmark = pytest.mark.lab


def ssh(machine: Machine, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        machine.ssh_command(command), capture_output=True, text=True, timeout=120, check=False
    )


def said(machine: Machine, command: str) -> str:
    done = ssh(machine, command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_a_server_is_a_whole_debian(lab_machines: Servers, release: str) -> None:
    (server,) = lab_machines(1, release)
    assert server.state == "running"
    assert said(server, ". /etc/os-release; echo $VERSION_CODENAME") == release
    assert said(server, "systemctl is-system-running") == "running"
    assert said(server, "hostname") == server.name
    assert said(server, "cat /proc/1/comm") == "systemd"
    # Pure cgroup v2 inside, whatever this machine has.
    assert said(server, "stat -fc %T /sys/fs/cgroup") == "cgroup2fs"
    assert ssh(server, "command -v python3").returncode != 0
    assert said(server, "systemd-run --quiet --wait --pipe cat /etc/hostname") == server.name


def test_login_with_strict_host_keys_only(lab_machines: Servers, tmp_path: Path) -> None:
    first, second = lab_machines(2)
    assert said(first, "id -un") == "root"
    assert first.known_hosts_line in first.known_hosts.read_text().splitlines()
    # A server that shows another's host key is refused.
    key = second.known_hosts_line.split(" ", 1)[1]
    swapped = tmp_path / "known_hosts"
    swapped.write_text(f"{first.address} {key}\n")
    words = [word.replace(str(first.known_hosts), str(swapped)) for word in first.ssh_command("id")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 255
    # And so is a password, or another key.
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    words = [word.replace(str(first.key), str(other)) for word in first.ssh_command("id")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 255
    assert "Permission denied (publickey)" in done.stderr


def test_servers_reach_each_other_by_name(lab_machines: Servers) -> None:
    first, second = lab_machines(2)
    assert said(first, f"getent hosts {second.name}").split()[0] == second.address
    read = f"bash -c 'read -r line </dev/tcp/{second.name}/22 && echo $line'"
    assert said(first, read).startswith("SSH-2.0-")


def test_servers_are_different_machines(lab_machines: Servers) -> None:
    first, second = lab_machines(2)
    identity = "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub"
    assert said(first, identity) != said(second, identity)
    said(first, "touch /etc/only-here")
    assert ssh(second, "test -e /etc/only-here").returncode == 1


def test_apt_installs_at_once_and_the_next_server_needs_no_download(machine: FreshServer) -> None:
    first = machine()
    install = "DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends hello"
    said(first, install)
    assert said(first, "hello -g hi") == "hi"
    # What it downloaded is kept when it goes, and lent to the next one: cut off from the
    # internet (no gateway), that one installs it all the same.
    Lab(first.lab).down([first.name])
    second = machine()
    said(second, "ip route delete default")
    assert "Need to get 0 B/" in said(second, install)
    assert said(second, "hello -g hi") == "hi"


def test_up_again_keeps_what_runs_and_replaces_what_died(make_lab: LabMaker) -> None:
    lab = make_lab()
    events: list[str] = []
    first, second = lab.up(2, on_event=events.append)
    assert sum("answers ssh" in event for event in events) == 2
    assert [one.pid for one in lab.up(2)] == [first.pid, second.pid]
    assert [one.pid for one in lab.up(1)] == [first.pid, second.pid]
    said(first, "touch /root/mark")
    lab.kill(first)
    assert {one.name: one.state for one in lab.machines()} == {
        first.name: "dead",
        second.name: "running",
    }
    again = lab.up(2)
    assert [one.state for one in again] == ["running", "running"]
    assert again[1].pid == second.pid
    assert ssh(again[0], "test -e /root/mark").returncode == 1, "a crashed server starts afresh"


def test_power_cut_keeps_the_disk(machine: FreshServer) -> None:
    server = machine()
    lab = Lab(server.lab)
    said(server, "echo kept >/root/mark")
    lab.kill(server)
    assert ssh(server, "true").returncode == 255
    again = lab.power_on(server)
    assert again.state == "running"
    assert said(again, "cat /root/mark") == "kept"


def test_a_server_reboots_itself(machine: FreshServer) -> None:
    server = machine()
    said(server, "touch /run/before-reboot; echo kept >/root/mark")
    ssh(server, "systemctl reboot")
    eventually(
        lambda: ssh(server, "test ! -e /run/before-reboot").returncode == 0, "back after its reboot"
    )
    assert said(server, "cat /root/mark") == "kept"
    assert Lab(server.lab).machine(server.name).state == "running"


def test_a_server_that_powers_off_is_dead(machine: FreshServer) -> None:
    server = machine()
    lab = Lab(server.lab)
    ssh(server, "systemctl poweroff")
    eventually(lambda: lab.machine(server.name).state == "dead", "off after its poweroff")
    with pytest.raises(LabError, match="does not run"):
        lab.exec(server, ["true"])


def test_freeze_and_thaw(machine: FreshServer) -> None:
    server = machine()
    lab = Lab(server.lab)
    lab.freeze(server)
    assert lab.machine(server.name).state == "frozen"
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(server.ssh_command("true"), timeout=1, check=False, capture_output=True)
    lab.thaw(server)
    assert lab.machine(server.name).state == "running"
    assert said(server, "echo back") == "back"


def test_cut_network_and_restore(machine: FreshServer) -> None:
    server = machine()
    lab = Lab(server.lab)
    options = ["-o", "ConnectTimeout=1"]
    words = [*server.ssh_command("true")]
    words[1:1] = options
    lab.cut_network(server)
    assert subprocess.run(words, check=False, capture_output=True).returncode == 255
    assert lab.exec(server, ["echo", "alive"]).stdout == "alive\n"
    lab.restore_network(server)
    eventually(lambda: ssh(server, "true").returncode == 0, "reachable again")


def test_exec_needs_no_ssh(lab_machines: Servers, session_lab: Lab) -> None:
    (server,) = lab_machines(1)
    done = session_lab.exec(server, ["sh", "-c", "hostname; cat; echo oops >&2; exit 3"], "in\n")
    assert (done.returncode, done.stdout, done.stderr) == (3, f"{server.name}\nin\n", "oops\n")
    with pytest.raises(LabError, match="did not end within"):
        session_lab.exec(server, ["sleep", "4321"], timeout=0.5)
    assert session_lab.exec(server, ["pgrep", "-f", "sleep 432[1]"]).returncode == 1


def test_down_leaves_nothing_and_twice_is_fine(make_lab: LabMaker) -> None:
    lab = make_lab()
    assert nothing_left(lab)
    servers = lab.up(2)
    seen = traces(lab)
    assert all(seen.values()), f"the harness is blind: {seen}"
    assert lab.down([servers[0].name]) == [servers[0].name]
    assert [one.name for one in lab.machines()] == [servers[1].name]
    assert lab.down() == [servers[1].name]
    eventually(lambda: nothing_left(lab), f"no trace of the lab: {traces(lab)}")
    assert lab.down() == []
    assert nothing_left(lab)


def test_two_labs_side_by_side(make_lab: LabMaker) -> None:
    one, two = make_lab("one"), make_lab("two")
    (mine,), (other,) = one.up(1), two.up(1)
    assert mine.name == other.name
    assert mine.address != other.address
    said(mine, "touch /root/mine")
    assert ssh(other, "test -e /root/mine").returncode == 1
    one.down()
    assert said(other, "echo still here") == "still here"


def test_a_boot_that_fails_says_why(make_lab: LabMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = make_lab()
    lab.up(1)
    (server,) = lab.machines()
    lab.kill(server)
    # A disk whose init is broken: the console tells, and so does the error.
    init = server.log.parent / "upper/usr/lib/systemd/systemd"
    init.parent.mkdir(parents=True, exist_ok=True)
    init.write_text("#!/bin/sh\necho the-init-is-broken\nexit 7\n")
    init.chmod(0o755)
    with pytest.raises(LabError, match="the-init-is-broken") as failure:
        lab.power_on(server)
    assert "ended while it booted" in str(failure.value) or "at once" in str(failure.value)
    assert lab.machine(server.name).state == "dead"


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda lab: lab.up(1, "../etc"), "not a Debian codename"),
        (lambda lab: lab.up(1000), "ask for 0 to 240"),
        (lambda lab: lab.machine("nobody"), "no server 'nobody'"),
        (lambda lab: Lab("Bad Name"), "cannot name a lab"),
        (lambda lab: Lab("x", root="/tmp/with space"), "overlay mount cannot"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(
    make_lab: LabMaker, call: Callable[[Lab], object], expected: str
) -> None:
    lab = make_lab()
    with pytest.raises(LabError, match=expected):
        call(lab)
    assert nothing_left(lab)


def test_a_mark_stands_for_one_server(make_lab: LabMaker) -> None:
    lab = make_lab()
    with ThreadPoolExecutor(3) as pool:
        both = list(pool.map(lab.marked, ["web/a", "web/a", "web/b"]))
    assert both[0].name == both[1].name != both[2].name
    assert {one.mark for one in lab.machines()} == {"web/a", "web/b"} and len(lab.machines()) == 2
    lab.kill(both[0])
    again = lab.marked("web/a")
    assert (again.name, again.state) == (both[0].name, "running"), "the same, with its disk"


def test_a_marked_server_that_was_made_by_half_is_made_anew(make_lab: LabMaker) -> None:
    lab = make_lab()
    first = lab.marked("web/a")
    lab.kill(first)
    folder = first.log.parent
    half = Record.read(folder)
    assert half is not None
    half.but(ready=False).write(folder)  # as it is when its maker was killed
    again = lab.marked("web/a")
    assert again.state == "running" and [one.mark for one in lab.machines()] == ["web/a"]
    assert again.known_hosts_line != first.known_hosts_line, "another server"
