"""The hazards of a batch, each provoked on a real server. One test a hazard, named after it."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess

import pytest

import lab
from converge import File, Host, Package, Plan, Service, User, apply, close, plan
from converge.errors import Locked
from converge.framing import new_nonce
from converge.preamble import record
from converge.shell import complete
from converge.talk import collect
from converge.transport import transport_for
from converge.transport.pool import pool

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(bool(lab.missing()), reason="; ".join(lab.missing())),
]
PASSWORD = b"correct horse"
BLUE = "/etc/systemd/system/blue.service"
UNIT = "[Service]\nExecStart=/bin/sleep infinity\n"


@pytest.fixture(scope="module")
def servers():
    place = lab.Lab(f"hazards-{os.getpid()}", owner=os.getpid())
    try:
        yield place
    finally:
        place.down()


@pytest.fixture(scope="module")
def server(servers):
    machine = servers.up(1)[0]
    on(
        machine,
        "useradd -m -s /bin/bash admin; install -d -o admin -m 700 /home/admin/.ssh;"
        " install -o admin -m 600 /root/.ssh/authorized_keys /home/admin/.ssh/;"
        " command -v sudo >/dev/null || apt-get install -y -q sudo >/dev/null 2>&1;"
        f" echo 'admin:{PASSWORD.decode()}' | chpasswd;"
        " echo 'admin ALL=(ALL) ALL' >/etc/sudoers.d/admin",
    )
    return machine


@pytest.fixture
def held_apt(server):
    """apt-get stops in the middle of its work, with its locks, until it is let go."""
    hook = "while [ -e /run/hold ]; do sleep 0.1; done; env >/run/env; tty >>/run/env || :"
    on(
        server,
        "touch /run/hold;"
        f""" echo 'DPkg::Pre-Invoke {{"{hook}";}};' >/etc/apt/apt.conf.d/99hold""",
    )
    yield lambda: on(server, "rm -f /run/hold")
    on(server, "rm -f /run/hold /etc/apt/apt.conf.d/99hold")


def host_of(machine, **more) -> Host:
    known = {"user": machine.user, "key": str(machine.key), "known_hosts": str(machine.known_hosts)}
    return Host(machine.address, **{**known, **more})


def asking(machine) -> Host:
    return host_of(machine, user="admin", sudo=True, sudo_password="env://SUDO")


def secrets(ref: str) -> bytes:
    return {"env://SUDO": PASSWORD, "env://OLD": b"0ld-s3cret", "env://NEW": b"n3w-s3cret"}[ref]


def on(machine, command: str, check: bool = True) -> str:
    done = subprocess.run(
        machine.ssh_command(command), capture_output=True, text=True, check=False, timeout=120
    )
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.strip()


async def until(scratch, machine, run: str, word: str) -> None:
    journal = f"/var/lib/converge/runs/{run}/journal.1"
    await scratch.until(
        lambda: on(machine, f"grep -c ' {word}' {journal} 2>/dev/null || :", check=False) == "1",
        f"the journal of {run} says {word}",
    )


async def test_a_child_that_reads_stdin_swallows_the_rest_of_the_script(server):
    nonce = new_nonce()
    script = complete(
        f"{record(nonce)}\nrec begin; cat; bash -c 'read -r line; echo \"$line\"'\nrec after; rec ."
    )
    for host in (host_of(server), asking(server)):
        password = PASSWORD if host.sudo else None
        heard = await collect(transport_for(host), host, nonce, script, password)
        assert [r.kind for r in heard] == ["begin", "after", "."]
        assert heard[0].body.strip() == b"", "the child was fed the script"


async def test_a_cut_off_script_runs_its_cut_off_last_line(server):
    on(server, "mkdir -p /srv/cut/a/b; touch /srv/cut/a/kept")
    script = complete("rm -rf /srv/cut/a/b; touch /srv/cut/ran")
    host = host_of(server)
    whole = len(script) - len("main </dev/null\n")
    places = [script.index(b"/a/b") + 2, script.index(b"/b;"), whole - 3, whole]
    for length in places:
        async with transport_for(host).run("exec sh -s") as process:
            await process.send(script[:length], eof=True)
            await process.wait()
        assert on(server, "ls /srv/cut /srv/cut/a") == "/srv/cut:\na\n\n/srv/cut/a:\nb\nkept"


async def test_one_argument_of_131072_bytes_fails_with_e2big(server):
    large = [File(f"/srv/large/{n}", content=f"{n}" * 500_000) for n in (1, 2)]
    many = [File(f"/srv/many/{n:03d}{'x' * 200}", content=str(n)) for n in range(700)]
    host = host_of(server)
    report = await apply(host, [*large, *many])
    assert report.ok and report.passes == 1, report.render()[-2000:]
    assert on(server, "ls /srv/many | wc -l; cat /srv/large/2 | wc -c") == "700\n500000"
    assert (await plan(host, [*large, *many])).empty


async def test_the_probe_of_b_depends_on_the_apply_of_a(server):
    wanted = [
        User("late", group="crew", groups=["extra"]),
        File("/srv/late", content="x", owner="late", group="extra"),
    ]
    host = host_of(server)
    report = await apply(host, wanted)
    assert report.ok and report.passes == 1, report.render()
    assert on(server, "stat -c '%U %G' /srv/late; id -Gn late") == "late extra\ncrew extra"


async def test_a_package_brings_users_services_and_files(server):
    wanted = [
        Package("uuid-runtime"),
        File("/srv/of-uuidd", content="x", owner="uuidd"),
        File("/etc/init.d/uuidd", mode="0700"),
        Service("uuidd", running=True),
    ]
    host = host_of(server)
    shown = await plan(host, wanted)
    assert {c.resource: c.action for c in shown.changes} == {
        "package:uuid-runtime": "create",
        "file:/srv/of-uuidd": "create",
        "file:/etc/init.d/uuidd": "unknown",
        "service:uuidd": "unknown",
    }, shown.render()
    report = await apply(host, shown)
    assert report.ok, report.render()
    assert on(server, "stat -c %U /srv/of-uuidd; stat -c %a /etc/init.d/uuidd") == "uuidd\n700"


async def test_a_home_directory_or_an_owner_is_not_there_yet(server):
    wanted = [
        File("/home/fresh/.config/app/x", content="x", owner="fresh"),
        User("fresh", shell="/bin/sh"),
    ]
    report = await apply(host_of(server), wanted)
    assert report.ok and report.passes == 1, report.render()
    made = on(server, "stat -c %U /home/fresh /home/fresh/.config/app; ls -A /home/fresh")
    assert made.splitlines()[:2] == ["fresh", "fresh"] and ".profile" in made, made


async def test_apt_is_locked_prompts_and_restarts(server, held_apt, scratch):
    other = await asyncio.create_subprocess_exec(
        *server.ssh_command("apt-get install -y -q figlet >/dev/null 2>&1")
    )
    await scratch.until(
        lambda: on(server, "pgrep -cf 'while.*run/hold' || :") != "0", "another apt is at work"
    )
    host, wanted = asking(server), [Package("toilet")]
    run = asyncio.create_task(apply(host, wanted, run_id="aptlock", secrets=secrets))
    await until(scratch, server, "aptlock", "start 0")
    await scratch.until(
        lambda: (
            "Waiting for cache lock" in on(server, "cat /run/converge/aptlock.1/* || :")
            or on(server, "pgrep -fc 'apt-get.*toilet' || :") != "0"
        ),
        "ours waits for it",
    )
    held_apt()
    report = await run
    assert await other.wait() == 0
    assert report.ok and report.changed, report.render()
    assert on(server, "command -v figlet toilet") == "/usr/bin/figlet\n/usr/bin/toilet"
    # What apt-get itself was given, behind sudo, which takes the environment away.
    env = on(server, "cat /run/env")
    assert "DEBIAN_FRONTEND=noninteractive" in env and "NEEDRESTART_MODE=a" in env
    assert "not a tty" in env


async def test_handlers_are_lost_after_a_failure(server, held_apt, scratch):
    unit = File(BLUE, content=UNIT)
    host = host_of(server)

    def wanted(text: str) -> list:
        conf = File("/etc/blue.conf", content=text)
        slow = Package("cowsay", needs=[conf])
        return [unit, conf, slow, Service("blue", running=True, on_change=[conf], needs=[slow])]

    conf = File("/etc/blue.conf", content="1")
    assert (await apply(host, [unit, conf, Service("blue", running=True)])).ok
    before = on(server, "systemctl show -p MainPID --value blue")
    run = asyncio.create_task(apply(host, wanted("2"), run_id="handler"))
    await until(scratch, server, "handler", "start 1")
    run.cancel()
    on(server, "systemctl kill -s KILL converge-handler-1")
    held_apt()
    # Another run: the file is as declared by now, and only the host knows of the restart due.
    report = await apply(host, wanted("2"))
    assert {o.resource: o.status for o in report.outcomes}["service:blue"] == "changed"
    assert on(server, "systemctl show -p MainPID --value blue") != before
    assert (await plan(host, wanted("2"))).empty
    assert (await apply(host, [Service("blue", running=False)])).ok


async def test_the_connection_is_lost_in_mid_apply(server, held_apt, scratch):
    wanted = [Package("sl"), File("/srv/after-sl", content="x")]
    run = asyncio.create_task(apply(host_of(server), wanted, run_id="lost"))
    await until(scratch, server, "lost", "start 0")
    for slot in list(pool().slots.values()):
        slot.connection.result().abort()
    held_apt()
    report = await run
    assert report.ok and report.attached and report.passes == 1, report.render()
    journals = "ls /var/lib/converge/runs/lost | grep -c journal"
    assert on(server, f"{journals}; grep -c ' install sl:' /var/log/dpkg.log") == "1\n1"


async def test_two_controllers_at_once(server, held_apt, scratch):
    first = asyncio.create_task(apply(host_of(server), [Package("cmatrix")], run_id="first"))
    await until(scratch, server, "first", "start 0")
    other = host_of(server, connect_timeout=14.0)  # a connection of its own
    mine = [File("/srv/second", content="x")]
    with pytest.raises(Locked, match="run first") as caught:
        await apply(other, mine, lock_wait=0)
    assert f"process {os.getpid()}" in caught.value.holder
    second = asyncio.create_task(apply(other, mine, run_id="second", lock_wait=100))
    await until(scratch, server, "second", "plan")
    held_apt()
    assert (await first).ok
    report = await second
    assert report.ok and report.changed
    # What it had seen was seen before the other one's work: it looked again.
    assert on(server, "grep -c ' end stale' /var/lib/converge/runs/second/journal.1") == "1"


async def test_the_sudo_password_is_in_argv_or_in_the_script(server, held_apt, scratch):
    wanted = [Package("lolcat"), File("/srv/by-admin", content="x")]
    run = asyncio.create_task(apply(asking(server), wanted, run_id="sudo", secrets=secrets))
    await until(scratch, server, "sudo", "start 0")
    look = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"
    seen = on(server, f"{look}; ls /run/converge/*/")
    assert "correct" not in seen.replace("grep", "") and "script" not in seen.splitlines()[-2:]
    held_apt()
    assert (await run).ok
    assert on(server, "grep -rl 'correct horse' /var/lib/converge /run/converge || :") == ""
    # Where it is not asked for, it must not become the first line of the script.
    on(server, "echo 'admin ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/admin")
    report = await apply(asking(server), [File("/srv/nopass", content="x")], secrets=secrets)
    on(server, "echo 'admin ALL=(ALL) ALL' >/etc/sudoers.d/admin")
    assert report.ok and report.changed
    assert on(server, "journalctl -q | grep -c 'correct horse' || :") == "0"


async def test_quoting_and_odd_names(server):
    names = [
        "a'b",
        'a"b',
        "$(touch pwned)",
        "`id`",
        "new\nline",
        "\n",
        " ",
        "-rf",
        "*",
        "~",
        "é\x81",
        "back\\slash",
        "#x",
        "a\tb",
        "${HOME}",
        ";reboot",
        "\x1b[31m",
    ]
    wanted = [File(f"/srv/odd/{name}", content=f"in {name}", mode="0640") for name in names]
    for host in (host_of(server), asking(server)):
        report = await apply(host, wanted, secrets=secrets)
        assert report.ok, report.render()
        assert (await plan(host, wanted, secrets=secrets)).empty
        found = on(
            server,
            "cd /srv/odd; find . -type f -print0 | base64 -w0; echo; ls -A / /root | grep -c pwned || :",
        )
        listed, pwned = found.splitlines()
        got = {one.decode()[2:] for one in base64.b64decode(listed).split(b"\0") if one}
        assert got == set(names) and pwned == "0"
        gone = await apply(host, [File(w.file, absent=True) for w in wanted], secrets=secrets)
        assert gone.ok and on(server, "ls -A /srv/odd") == ""


async def test_max_startups_drops_connections(server):
    conf = "/etc/ssh/sshd_config.d/00-startups.conf"
    on(server, f"echo 'MaxStartups 2:100:3' >{conf}; systemctl restart ssh")
    await close()
    wanted = [File("/srv/startups", content="x")]
    try:
        # Different values, so that each has a connection of its own.
        hosts = [host_of(server, connect_timeout=30.0 + n) for n in range(16)]
        plans = await asyncio.gather(*(plan(host, wanted) for host in hosts))
    finally:
        await close()
        lab.Lab(server.lab).exec(server, ["sh", "-c", f"rm -f {conf}; systemctl restart ssh"])
    assert all(one.count("create") == 1 for one in plans)
    dropped = on(server, "journalctl -q -u ssh | grep -ciE 'MaxStartups|drop connection' || :")
    assert int(dropped) > 0, "nothing was dropped: the test shows nothing"


async def test_locked_out_by_sshd(server):
    sshd = File("/etc/ssh/sshd_config.d/00-locked.conf", content="AllowUsers nobody\n")
    wanted = [sshd, Service("ssh", running=True, on_change=[sshd], action="reload")]
    report = await apply(host_of(server), wanted, confirm_within=3)
    assert not report.ok and "reverted" in report.outcomes[0].because, report.render()
    await close()
    assert on(server, f"ls {sshd.file} 2>/dev/null || echo gone") == "gone"


async def test_secrets_in_diffs_the_old_value_too(server):
    host = host_of(server)
    assert (await apply(host, [File("/etc/app.key", secret="env://OLD")], secrets=secrets)).ok
    wanted = [File("/etc/app.key", secret="env://NEW"), File("/etc/app.key2", secret="env://OLD")]
    shown = await plan(host, wanted, secrets=secrets)
    report = await apply(host, shown, secrets=secrets, run_id="diffs")
    assert report.ok and report.changed
    text = shown.render() + shown.model_dump_json() + report.render() + report.model_dump_json()
    assert "s3cret" not in text
    assert (
        on(server, "cat /etc/app.key; grep -rl s3cret /var/lib/converge /run || :") == "n3w-s3cret"
    )


async def test_reboot(servers, server, held_apt, scratch):
    wanted = [Package("bsdgames"), File("/srv/after-boot", content="x")]
    process = scratch.controller(
        f"host = Host.model_validate_json({host_of(server).model_dump_json()!r})\n"
        f"wanted = Plan.model_validate_json({stored(server, wanted)!r}).resources\n"
        "asyncio.run(apply(host, wanted, run_id='boot'))\n"
    )
    await until(scratch, server, "boot", "start 0")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # Not the kernel's boot id: a container has its host's. What tmpfs held is what must be gone.
    marks = "ls -d /run/converge/boot.1 2>/dev/null || echo gone; stat -c %Y /proc/1"
    marker, started = on(server, marks).splitlines()
    assert marker == "/run/converge/boot.1"
    servers.kill(server)
    machine = servers.power_on(server)
    marker, again = on(machine, marks).splitlines()
    assert marker == "gone" and int(again) > int(started)
    report = await apply(host_of(machine), wanted, run_id="boot")
    assert report.ok and report.attached and report.changed, report.render()
    assert on(machine, "ls /var/lib/converge/runs/boot | grep -c journal") == "2"


def stored(machine, wanted: list) -> str:
    return Plan(host=host_of(machine).name, resources=tuple(wanted), changes=()).model_dump_json()
