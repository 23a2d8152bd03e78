"""Changes that cut us off are taken back by the host itself, whatever dies meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess

import pytest

import lab
from converge import File, Host, Package, Service, User, apply, close, plan
from converge.armed import stake_of, windows
from converge.graph import arrange
from converge.planner import compare, steps
from converge.resource import State
from converge.resources.file import FileState
from converge.resources.service import ServiceState
from converge.shell import quote
from lab.testing import eventually

ON_LAB = [
    pytest.mark.lab,
    pytest.mark.skipif(bool(lab.missing()), reason="; ".join(lab.missing())),
]
PATIENCE = 6.0
"""Seconds to confirm: a lab server answers in one."""
LOCK = "/etc/ssh/sshd_config.d/00-test.conf"


# -- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resource", "paths", "units"),
    [
        (File(LOCK, content="x"), (LOCK,), ("ssh.service",)),
        (File("/etc/sudoers.d/x", content="x"), ("/etc/sudoers.d/x",), ()),
        (File("/etc/sudoers", absent=True), ("/etc/sudoers",), ()),
        (File("/etc/nftables.conf", content="x"), ("/etc/nftables.conf",), ("nftables.service",)),
        (Service("ssh", running=False), (), ("ssh.service",)),
    ],
)
def test_what_can_cut_us_off_puts_something_at_stake(resource, paths, units):
    stake = stake_of(resource, "root")
    assert stake is not None and stake.paths == paths and stake.units == units
    assert ("nft list ruleset" in stake.save) == ("nftables" in resource.name)


@pytest.mark.parametrize(
    "resource",
    [
        File("/etc/ssh.txt", content="x"),
        File("/srv/etc/ssh/x", content="x"),
        Package("openssh-server"),
        Service("nginx", running=False),
        User("other", authorized_keys=[]),
    ],
)
def test_what_cannot_is_not_armed(resource):
    assert stake_of(resource, "deploy") is None


def test_the_account_we_log_in_with_is_at_stake_and_no_other():
    mine = User("deploy", shell="/bin/sh")
    stake = stake_of(mine, "deploy")
    assert stake is not None and "/home/deploy/.ssh" in stake.paths and "/etc/passwd" in stake.paths
    assert stake_of(mine, "root") is None


def cut(*resources):
    """(first step, last step, names at stake) of each window when all of them are new."""
    spec = arrange(resources)
    found: list[State] = [
        ServiceState("present", active="inactive", load="loaded")
        if isinstance(resource, Service)
        else FileState("absent")
        for resource in spec.resources
    ]
    planned = steps(spec, compare(spec, found))
    return [
        (one.first, one.last, [spec.resources[index].id for index in one.armed])
        for one in windows(spec, planned, "root")
    ]


def test_neighbours_and_what_waits_for_them_share_a_window():
    sshd, firewall = File(LOCK, content="x"), File("/etc/nftables.conf", content="x")
    ssh = Service("ssh", running=True, on_change=[sshd])
    a, b = File("/srv/a", content="x"), File("/srv/b", content="x")
    assert cut(a, b) == []
    assert cut(sshd, ssh, a) == [(0, 1, [sshd.id, ssh.id])]
    assert cut(sshd, a, ssh, b) == [(0, 2, [sshd.id, ssh.id])], "a service loads what a file says"
    assert cut(sshd, a, firewall) == [(0, 0, [sshd.id]), (2, 2, [firewall.id])]
    assert cut(sshd, a, firewall, b, ssh) == [(0, 4, [sshd.id, firewall.id, ssh.id])]


# -- real servers -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def servers():
    place = lab.Lab(f"armed-{os.getpid()}", owner=os.getpid())
    try:
        yield place
    finally:
        place.down()


@pytest.fixture(scope="module")
def fresh(servers):
    return servers.up(1)[0]


@pytest.fixture
def server(servers, fresh):
    """The shared server, as it should be left: nothing armed, nothing of ours in sshd's way."""
    machine = servers.machine(fresh.name)
    yield machine
    left = "ls -A /var/lib/converge/armed 2>/dev/null | grep -v boot || :"
    eventually(lambda: inside(servers, machine, left) == "", "nothing is armed any more", 60)
    eventually(
        lambda: inside(servers, machine, "systemctl list-units --no-legend 'converge-*'") == "",
        "the guards and units are gone",
        60,
    )


def inside(servers, machine, command: str) -> str:
    """Not through ssh: that is what is being broken."""
    done = servers.exec(machine, ["sh", "-c", command])
    assert done.returncode == 0, done.stderr
    return str(done.stdout).strip()


def host_of(machine, **more) -> Host:
    known = {"user": machine.user, "key": str(machine.key), "known_hosts": str(machine.known_hosts)}
    return Host(machine.address, **{**known, **more})


@pytest.fixture
def admin(servers, server) -> Host:
    """Who is root by sudo only."""
    inside(
        servers,
        server,
        "id admin >/dev/null 2>&1 || useradd -m -s /bin/bash admin;"
        " install -d -o admin -m 700 /home/admin/.ssh;"
        " install -o admin -m 600 /root/.ssh/authorized_keys /home/admin/.ssh/;"
        " command -v sudo >/dev/null; echo 'admin ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/admin",
    )
    return host_of(server, user="admin", sudo=True)


def absent(servers, machine, path: str) -> bool:
    return inside(servers, machine, f"ls {path} 2>/dev/null || :") == ""


def answers(machine) -> bool:
    done = subprocess.run(machine.ssh_command("true"), capture_output=True, check=False, timeout=60)
    return done.returncode == 0


def locking(name: str = LOCK, content: str = "AllowUsers nobody\n") -> list:
    sshd = File(name, content=content)
    return [sshd, Service("ssh", running=True, on_change=[sshd], action="reload")]


def statuses(report) -> dict[str, str]:
    return {outcome.resource: outcome.status for outcome in report.outcomes}


@ON_LAB[0]
@ON_LAB[1]
async def test_an_sshd_that_lets_nobody_in_is_taken_back_and_the_run_failed(servers, server):
    other = File("/srv/other", content="x")
    after = File("/srv/after", content="x", needs=["service:ssh"])
    report = await apply(host_of(server), [other, *locking(), after], confirm_within=PATIENCE)
    assert not report.ok, report.render()
    assert statuses(report) == {
        other.id: "changed",
        f"file:{LOCK}": "failed",
        "service:ssh": "failed",
        after.id: "skipped",
    }, report.render()
    why = next(o.because for o in report.outcomes if o.resource == f"file:{LOCK}")
    assert why.startswith("reverted: no fresh connection within 6 s"), why
    assert "permission denied for root" in why, "it does not say what came in between"
    with pytest.raises(Exception, match="reverted: no fresh connection"):
        report.raise_for_failure()
    await close()
    assert answers(server)
    assert absent(servers, server, LOCK)
    assert inside(servers, server, "sshd -T | grep -i allowusers || :") == ""
    # The same run, asked again, hands back the same and tries nothing.
    again = await apply(host_of(server), [other, *locking(), after], run_id=report.run_id)
    assert again.attached and statuses(again) == statuses(report)


@ON_LAB[0]
@ON_LAB[1]
async def test_a_change_that_lets_us_in_is_confirmed_and_stays(servers, server):
    wanted = locking(content="X11Forwarding no\n")
    report = await apply(host_of(server), wanted, confirm_within=60)
    assert report.ok and report.passes == 1, report.render()
    assert b" confirmed 0" in journal(servers, server, report.run_id)
    assert (
        inside(
            servers,
            server,
            f"cat {LOCK}; ls /etc/systemd/system/converge-revert.service 2>/dev/null || :",
        )
        == "X11Forwarding no"
    )
    assert (await plan(host_of(server), wanted)).empty
    gone = await apply(host_of(server), [File(LOCK, absent=True)])
    assert gone.ok, gone.render()


def journal(servers, machine, run: str, number: int = 1) -> bytes:
    path = f"/var/lib/converge/runs/{run}/journal.{number}"
    return inside(servers, machine, f"cat {path} 2>/dev/null || :").encode()


@ON_LAB[0]
@ON_LAB[1]
async def test_a_firewall_that_drops_everything_is_taken_back(servers, server):
    before = inside(
        servers,
        server,
        "apt-get install -y -q nftables >/dev/null 2>&1; nft add table inet mine; nft list ruleset",
    )
    assert "table inet mine" in before
    rules = (
        "flush ruleset\ntable inet filter {\n chain input {\n"
        "  type filter hook input priority 0; policy drop;\n }\n}\n"
    )
    conf = File("/etc/nftables.conf", content=rules)
    load = Service("nftables", running=True, enabled=True, on_change=[conf], action="reload")
    old = inside(servers, server, "cat /etc/nftables.conf")
    report = await apply(host_of(server), [conf, load], confirm_within=PATIENCE)
    assert set(statuses(report).values()) == {"failed"}, report.render()
    assert "reverted: no fresh connection" in report.outcomes[0].because
    await close()
    assert answers(server)
    assert inside(servers, server, "nft list ruleset") == before
    assert inside(servers, server, "cat /etc/nftables.conf") == old
    assert inside(servers, server, "systemctl is-enabled nftables || :") == "disabled"


@ON_LAB[0]
@ON_LAB[1]
async def test_sudoers_and_keys_that_would_shut_us_out_are_taken_back(admin):
    host = admin
    shut = await apply(
        host,
        [File("/etc/sudoers.d/admin", content="# nothing\n", mode="0440")],
        confirm_within=PATIENCE,
    )
    assert statuses(shut) == {"file:/etc/sudoers.d/admin": "failed"}, shut.render()
    assert "sudo" in shut.outcomes[0].because, shut.render()
    keys = [User("admin", authorized_keys=[], authorized_keys_exclusive=True)]
    shut = await apply(host, keys, confirm_within=PATIENCE)
    assert statuses(shut) == {"user:admin": "failed"}, shut.render()
    await close()
    assert (await plan(host, [File("/srv/still", content="x")])).count("create") == 1


@pytest.fixture
def held(servers, server):
    """Reloading ssh takes until it is let go: a unit in the middle of an armed change."""
    folder = "/etc/systemd/system/ssh.service.d"
    waiting = (
        # Emptied first: what is added to the unit's own list runs after its signal to sshd.
        "[Service]\nExecReload=\n"
        'ExecReload=/bin/sh -c "while [ -e /run/hold ]; do sleep 0.1; done"\n'
        "ExecReload=/bin/kill -HUP $MAINPID\n"
    )
    inside(
        servers,
        server,
        f"mkdir -p {folder}; touch /run/hold; printf %s {quote(waiting)}"
        f" >{folder}/hold.conf; systemctl daemon-reload",
    )
    yield lambda: inside(servers, server, "rm -f /run/hold")
    inside(servers, server, f"rm -rf /run/hold {folder}; systemctl daemon-reload")


async def alone(
    scratch, servers, machine, run: str, wanted: list, patience: float = PATIENCE
) -> None:
    """The unit is in its armed change, and whoever started it was killed."""
    from converge import Plan

    stored = Plan(host=host_of(machine).name, resources=tuple(wanted), changes=())
    process = scratch.controller(
        f"host = Host.model_validate_json({host_of(machine).model_dump_json()!r})\n"
        f"wanted = Plan.model_validate_json({stored.model_dump_json()!r}).resources\n"
        f"asyncio.run(apply(host, wanted, run_id={run!r}, confirm_within={patience}))\n"
    )

    def reloads() -> bool:
        assert process.poll() is None, process.communicate()[0].decode()
        return b" start 1" in journal(servers, machine, run)

    await scratch.until(reloads, "the unit reloads ssh")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@ON_LAB[0]
@ON_LAB[1]
async def test_controller_killed_before_it_confirmed_then_the_next_one_does(
    servers, server, held, scratch
):
    wanted = locking(content="X11Forwarding no\n")
    await alone(scratch, servers, server, "next", wanted, patience=120)
    held()
    report = await apply(host_of(server), wanted, run_id="next")
    assert report.ok and report.attached and report.passes == 1, report.render()
    assert b" confirmed 0" in journal(servers, server, "next")
    assert (await apply(host_of(server), [File(LOCK, absent=True)])).ok


@ON_LAB[0]
@ON_LAB[1]
async def test_controller_killed_and_nobody_comes_then_the_next_one_hears_of_the_revert(
    servers, server, held, scratch
):
    wanted = locking(content="X11Forwarding no\n")
    await alone(scratch, servers, server, "nobody", wanted)
    held()
    await scratch.until(
        lambda: b" end ok" in journal(servers, server, "nobody"), "the host took it back by itself"
    )
    assert absent(servers, server, LOCK)
    report = await apply(host_of(server), wanted, run_id="nobody")
    assert report.attached and set(statuses(report).values()) == {"failed"}, report.render()
    assert "reverted: no fresh connection within 6 s" in report.outcomes[0].because


@ON_LAB[0]
@ON_LAB[1]
async def test_unit_killed_in_an_armed_change_then_the_guard_takes_it_back(
    servers, server, held, scratch
):
    wanted = locking()
    await alone(scratch, servers, server, "unit", wanted)
    # The guard as well: systemd starts it again.
    inside(servers, server, "systemctl kill -s KILL converge-guard-unit-1-0 converge-unit-1")
    await scratch.until(lambda: absent(servers, server, LOCK), "the file is gone")
    held()
    eventually(lambda: answers(server), "sshd has read the old settings again", 60)
    report = await apply(host_of(server), locking(content="X11Forwarding no\n"))
    assert report.ok, report.render()
    assert (await apply(host_of(server), [File(LOCK, absent=True)])).ok


@ON_LAB[0]
@ON_LAB[1]
async def test_power_cut_before_it_was_confirmed_then_it_is_taken_back_at_boot(
    servers, server, held, scratch
):
    # Lets root in until sshd is started anew, as it is at boot.
    await alone(scratch, servers, server, "power", locking())
    assert answers(server)
    servers.kill(server)
    machine = servers.power_on(server)  # waits until ssh answers
    assert absent(servers, machine, LOCK)
    held()
    inside(servers, machine, "rm -r /etc/systemd/system/ssh.service.d; systemctl daemon-reload")
    report = await apply(host_of(machine), locking(), run_id="power", confirm_within=PATIENCE)
    assert report.attached and set(statuses(report).values()) == {"failed"}, report.render()
    assert "reverted" in report.outcomes[0].because and answers(machine)


@ON_LAB[0]
@ON_LAB[1]
async def test_without_systemd_the_guard_is_a_plain_process(servers, server, admin, scratch):
    shut = [File("/etc/sudoers.d/admin", content="# nothing\n", mode="0440")]
    inside(servers, server, "mount -t tmpfs none /run/systemd")
    try:
        for guard in ("alive", "killed"):
            run = asyncio.create_task(apply(admin, shut, run_id=guard, confirm_within=2))
            if guard == "killed":
                await scratch.until(
                    lambda: b" confirm " in journal(servers, server, "killed"), "it is asked"
                )
                # Then the unit, which waits, takes it back itself.
                inside(servers, server, "pkill -KILL -f 'sh /var/lib/converge/armed/[k]illed.1.0'")
            report = await run
            assert statuses(report) == {shut[0].id: "failed"}, report.render()
            assert "reverted" in report.outcomes[0].because
    finally:
        inside(servers, server, "umount /run/systemd")
    assert (await plan(admin, [File("/srv/still", content="x")])).count("create") == 1


@ON_LAB[0]
@ON_LAB[1]
async def test_what_cannot_be_armed_is_not_begun(servers, server):
    inside(servers, server, "rm -rf /var/lib/converge/armed; touch /var/lib/converge/armed")
    try:
        report = await apply(host_of(server), [*locking(), File("/srv/free", content="y")])
    finally:
        inside(servers, server, "rm -f /var/lib/converge/armed")
    assert list(statuses(report).values()) == ["failed", "skipped", "changed"], report.render()
    assert "could not be taken back" in report.outcomes[0].output, report.render()
    assert absent(servers, server, LOCK)


async def test_many_seconds_of_a_secret_do_not_stop_the_loop(scratch):
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    go_on = asyncio.Event()

    def slow(ref: str) -> bytes:
        loop.call_soon_threadsafe(asked.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(60)
        return b"secret"

    path = scratch.path / "x"
    task = asyncio.create_task(
        apply(scratch.host, [File(str(path), secret="exec://x")], secrets=slow)
    )
    await asked.wait()  # the loop turns while the secret is being resolved
    go_on.set()
    assert (await task).ok and path.read_text() == "secret"
