"""Faults that do what they say: a disk without room, and a link with a round trip."""

from __future__ import annotations

import asyncio
import json
import signal
import statistics
import subprocess
import sys
import time

import pytest

from lab import Lab, LabError, Machine
from lab.testing import LabMaker, Servers, eventually
from lab.traces import nothing_left, traces

pytestmark = pytest.mark.lab
RTT = 0.05


def ssh(machine: Machine, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        machine.ssh_command(command), capture_output=True, text=True, timeout=120, check=False
    )


def test_a_full_disk_is_full_everywhere_and_restored(make_lab: LabMaker) -> None:
    lab = make_lab("disk")
    (server,) = lab.add(1, disk_mib=64)
    assert ssh(server, "df --output=size -m / | tail -n 1").stdout.strip() in map(
        str, range(40, 65)
    )
    assert ssh(server, "cat /root/.ssh/authorized_keys").stdout, "seeded as any server"
    lab.fill_disk(server)
    for folder in ("/var/lib", "/etc", "/root"):
        done = ssh(server, f"dd if=/dev/zero of={folder}/more bs=4096 count=1 conv=fsync")
        assert "No space left on device" in done.stderr
    lab.fill_disk(server)  # again is fine
    lab.restore_disk(server)
    lab.restore_disk(server)
    assert ssh(server, "dd if=/dev/zero of=/etc/more bs=1M count=8 conv=fsync").returncode == 0
    lab.fill_disk(server, keep=2**20)
    assert ssh(server, "dd if=/dev/zero of=/etc/some bs=1k count=512 conv=fsync").returncode == 0
    assert ssh(server, "dd if=/dev/zero of=/etc/many bs=1M count=2 conv=fsync").returncode == 1
    # A power cut keeps the disk, and how full it is.
    lab.kill(server)
    server = lab.power_on(server)
    assert ssh(server, "test -s /etc/some").returncode == 0
    assert ssh(server, "dd if=/dev/zero of=/etc/many bs=1M count=2 conv=fsync").returncode == 1
    lab.restore_disk(server)
    assert ssh(server, "dd if=/dev/zero of=/etc/many bs=1M count=2 conv=fsync").returncode == 0
    seen = traces(lab)
    assert any("ext4" in line for line in seen["mounts"]), seen
    lab.down()
    eventually(lambda: nothing_left(lab), f"no trace of the lab: {traces(lab)}")
    loops = subprocess.run(["losetup", "--all"], capture_output=True, text=True, check=True).stdout
    assert str(lab.folder) not in loops


def test_an_unbounded_disk_is_not_filled(lab_machines: Servers, session_lab: Lab) -> None:
    (server,) = lab_machines(1)
    with pytest.raises(LabError, match="would fill this machine's"):
        session_lab.fill_disk(server)
    with pytest.raises(LabError, match="32 to"):
        session_lab.add(1, disk_mib=1)


async def echo(server: Machine, count: int) -> list[float]:
    """Seconds of each of `count` exchanges over one open ssh session, the first after its login."""
    process = await asyncio.create_subprocess_exec(
        *server.ssh_command("cat"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    took = []
    for _ in range(count + 1):
        began = time.perf_counter()
        process.stdin.write(b"here\n")
        assert await process.stdout.readline() == b"here\n"
        took.append(time.perf_counter() - began)
    process.stdin.close()
    await process.wait()
    return took[1:]


async def test_a_relay_adds_its_round_trip_and_no_less(
    lab_machines: Servers, session_lab: Lab
) -> None:
    servers = lab_machines(2)
    near = statistics.median(await echo(servers[0], 15))
    with session_lab.relay(servers, rtt=RTT) as far:
        assert [one.name for one in far] == [one.name for one in servers]
        # Sixteen at a time through one relay.
        took = await asyncio.gather(*(echo(far[number % 2], 15) for number in range(16)))
        medians = [statistics.median(one) for one in took]
        assert min(map(min, took)) >= RTT, "never earlier than light"
        assert statistics.median(medians) < near + RTT + RTT / 2
    assert ssh(far[0], "true").returncode == 255, "gone with its block"


def test_a_relay_keeps_bytes_order_and_ends(lab_machines: Servers, session_lab: Lab) -> None:
    (server,) = lab_machines(1)
    sent = bytes(range(256)) * 40_000
    with session_lab.relay(server, rtt=RTT) as (far,):
        began = time.perf_counter()
        done = subprocess.run(
            far.ssh_command("cat"), input=sent, capture_output=True, timeout=60, check=True
        )
        took = time.perf_counter() - began
        assert done.stdout == sent
        # In lock-step each 32 KiB packet of ssh would take a round trip: 300 of them.
        assert took < len(sent) / 32768 * RTT, "what is under way together arrives together"
        assert ssh(far, "exit 7").returncode == 7
        # Strict host keys hold for the relay's address: another server's key is refused.
        wrong = far.known_hosts.with_name("known_hosts.wrong")
        wrong.write_text(
            far.known_hosts_line.replace("AAAAC3NzaC1lZDI1NTE5", "AAAAC3NzaC1lZDI1NTE4")
        )
        words = [word.replace(str(far.known_hosts), str(wrong)) for word in far.ssh_command("id")]
        assert subprocess.run(words, capture_output=True, check=False).returncode == 255
        wrong.unlink()


def test_a_server_that_is_down_is_refused_through_the_relay(make_lab: LabMaker) -> None:
    lab = make_lab("down")
    (server,) = lab.up(1)
    with lab.relay(server, rtt=0.01) as (far,):
        assert ssh(far, "true").returncode == 0
        lab.kill(server)
        assert ssh(far, "true").returncode == 255


_HOLD = """\
import sys
from lab import Lab
lab = Lab(sys.argv[1])
with lab.relay(lab.machines(), rtt=0.01) as far:
    print(far[0].port, flush=True)
    sys.stdin.read()
"""


def relays(lab: Lab) -> list[str]:
    return [line for line in traces(lab)["processes"] if "relay.py" in line]


@pytest.mark.parametrize("end", ["its starter is killed", "the lab goes down"])
def test_a_relay_ends_with(make_lab: LabMaker, end: str) -> None:
    lab = make_lab("ends")
    lab.up(1)
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, lab.name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip().isdigit()
        assert relays(lab)
        if end == "its starter is killed":
            process.send_signal(signal.SIGKILL)
            eventually(lambda: not relays(lab), "the relay ended")
    finally:
        lab.down()
        process.kill()
        process.communicate()
    eventually(lambda: nothing_left(lab), f"no trace of the lab: {json.dumps(traces(lab))}")


@pytest.mark.parametrize("rtt", [0.0, -1.0, 11.0])
def test_a_round_trip_that_makes_no_sense(
    lab_machines: Servers, session_lab: Lab, rtt: float
) -> None:
    (server,) = lab_machines(1)
    with pytest.raises(LabError, match="a round trip of"), session_lab.relay(server, rtt=rtt):
        raise AssertionError("it was taken")
