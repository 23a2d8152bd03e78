"""The whole path on real servers: Debian with systemd, apt and sshd."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess

import pytest

import lab
from converge import File, Host, Package, Service, User, abort, apply, close, plan
from converge.errors import (
    Aborted,
    HostKeyChanged,
    HostKeyUnknown,
    InvalidResources,
    PermissionDenied,
    Refused,
    SudoRefused,
)
from converge.transport.pool import pool

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(bool(lab.missing()), reason="; ".join(lab.missing())),
]
KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
    " deploy@example"
)
PAGE = "<h1>hello</h1>\n"


def web() -> list:
    site = File(
        "/etc/nginx/conf.d/site.conf",
        content="server { listen 8080; root /srv/www; }\n",
    )
    return [
        Service("nginx", running=True, enabled=True, on_change=[site], action="reload"),
        Package("nginx-light"),
        User("deploy", groups=["www-data"], shell="/bin/bash", authorized_keys=[KEY]),
        File("/srv/www/index.html", content=PAGE, owner="deploy", mode="0644"),
        File("/etc/app.key", secret="env://KEY", owner="deploy", mode="0400"),
        File("/etc/nginx/sites-enabled/default", absent=True),
        site,
    ]


def secrets(ref: str) -> bytes:
    return {"env://KEY": b"tr0ub4dor-and-3", "env://SUDO": b"correct horse"}[ref]


@pytest.fixture(scope="module")
def servers():
    place = lab.Lab(f"converge-{os.getpid()}", owner=os.getpid())
    try:
        yield place
    finally:
        place.down()


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def server(request, servers):
    return servers.up(1, release=request.param)[0]


@pytest.fixture(scope="module")
def bookworm(servers):
    return servers.up(1, release="bookworm")[0]


def host_of(machine, **more) -> Host:
    known = {"user": machine.user, "key": str(machine.key), "known_hosts": str(machine.known_hosts)}
    return Host(machine.address, **{**known, **more})


def on(machine, command: str, check: bool = True) -> str:
    done = subprocess.run(
        machine.ssh_command(command), capture_output=True, text=True, check=False, timeout=120
    )
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.strip()


async def test_a_web_server_from_nothing_then_nothing_to_do(server):
    host, wanted = host_of(server), web()
    shown = await plan(host, wanted, secrets=secrets)
    text = shown.render() + shown.model_dump_json()
    assert shown.count("create") == 5 and shown.count("unknown") == 2, shown.render()
    assert "tr0ub4dor" not in text
    report = await apply(host, shown, secrets=secrets)
    assert report.ok and report.passes == 1, report.render()
    assert {o.status for o in report.outcomes} == {"changed"}
    assert "tr0ub4dor" not in report.model_dump_json()
    ask = "exec 3<>/dev/tcp/127.0.0.1/8080; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
    page = on(server, f'bash -c "{ask}"')
    assert page.endswith(PAGE.strip()), page
    assert on(server, "cat /etc/app.key; stat -c ' %a %U' /etc/app.key") == (
        "tr0ub4dor-and-3 400 deploy"
    )
    assert on(server, "cat ~deploy/.ssh/authorized_keys; stat -c '%a %U' ~deploy/.ssh") == (
        f"{KEY}\n700 deploy"
    )
    assert on(server, "grep -rl tr0ub4dor /var/lib/converge /run/converge || :") == ""
    assert (await plan(host, wanted, secrets=secrets)).empty
    again = await apply(host, wanted, secrets=secrets)
    assert again.ok and not again.changed and again.passes == 0
    assert on(server, "systemctl list-units --all 'converge-*' --no-legend") == ""


async def test_a_change_reloads_and_a_trigger_outlives_a_failure(server):
    host = host_of(server)
    path = "/etc/nginx/conf.d/site.conf"

    def wanted(text: str):
        site = File(path, content=text)
        return [
            Package("nginx-light"),
            site,
            Service("nginx", running=True, on_change=[site], action="reload"),
        ]

    await apply(host, wanted("server { listen 8080; }\n"))
    pid = on(server, "systemctl show -p MainPID --value nginx")
    good = await apply(host, wanted("server { listen 8081; }\n"))
    assert {o.resource: o.status for o in good.outcomes}["service:nginx"] == "changed"
    assert on(server, "systemctl show -p MainPID --value nginx") == pid, "restarted, not reloaded"
    bad = await apply(host, wanted("server { lissten 8082; }\n"))
    failed = {o.resource: o for o in bad.outcomes}["service:nginx"]
    assert not bad.ok and failed.status == "failed" and "lissten" in failed.output, bad.render()
    # The file is as declared, so nothing but the record on the host knows of the reload.
    on(server, f"echo 'server {{ listen 8083; }}' >{path}")
    late = await plan(host, wanted("server { listen 8083; }\n"))
    assert [c.resource for c in late.changes] == ["service:nginx"], late.render()
    mended = await apply(host, wanted("server { listen 8083; }\n"))
    assert mended.ok and mended.changed
    assert (await plan(host, wanted("server { listen 8083; }\n"))).empty
    assert on(server, "ls /var/lib/converge/pending") == ""


async def test_one_bad_package_does_not_take_the_others_along(bookworm):
    host = host_of(bookworm)
    report = await apply(
        host,
        [
            Package("hello"),
            Package("no-such-package"),
            Package("hello-traditional", absent=True),
            File("/srv/needs", content="x", needs=["package:no-such-package"]),
            File("/srv/free", content="x"),
        ],
    )
    assert [o.status for o in report.outcomes] == [
        "changed",
        "failed",
        "unchanged",
        "skipped",
        "changed",
    ], report.render()
    assert "no-such-package" in report.outcomes[1].output
    gone = await apply(host, [Package("hello", purge=True)])
    assert gone.ok and gone.changed and on(bookworm, "command -v hello || :") == ""


async def test_accounts_changed_and_removed(bookworm):
    host = host_of(bookworm)
    other = KEY.replace("MEBQY", "MEBQZ").replace("deploy@", "other@")
    first = [
        User(
            "ops",
            uid=4242,
            group="staff",
            groups=["adm", "fresh"],
            comment="Ops \\ team",
            authorized_keys=[KEY],
            authorized_keys_exclusive=True,
        ),
        File("/home/ops/notes/a", owner="ops", content="x"),
        User("daemon1", system=True, home="/srv/daemon1"),
    ]
    assert (await apply(host, first)).ok
    assert on(bookworm, "id ops; stat -c %U /home/ops/notes").startswith(
        "uid=4242(ops) gid=50(staff)"
    )
    on(bookworm, f"echo '{other}' >>/home/ops/.ssh/authorized_keys; chown root /home/ops/.ssh")
    shown = await plan(host, first)
    assert [c.resource for c in shown.changes] == ["user:ops"], shown.render()
    assert (await apply(host, first)).ok and (await plan(host, first)).empty
    assert on(bookworm, "cat /home/ops/.ssh/authorized_keys") == KEY
    second = [
        User(
            "ops", shell="/bin/sh", groups=["adm"], groups_exclusive=True, authorized_keys=[other]
        ),
        User("daemon1", absent=True),
    ]
    assert (await apply(host, second)).ok and (await plan(host, second)).empty
    assert on(bookworm, "id -Gn ops; cat /home/ops/.ssh/authorized_keys").splitlines() == [
        "staff adm",
        KEY,
        other,
    ]
    assert (await apply(host, [User("ops", absent=True, purge_home=True)])).ok
    assert on(bookworm, "ls -d /home/ops || :") == ""


async def test_links_in_a_home_lead_root_nowhere(bookworm):
    host = host_of(bookworm)
    on(
        bookworm,
        "useradd -m mallory; mkdir /root/trap;"
        " ln -s /root/trap /home/mallory/.ssh; chown -h mallory /home/mallory/.ssh",
    )
    report = await apply(host, [User("mallory", authorized_keys=[KEY])])
    assert not report.ok and "symbolic link" in report.outcomes[0].because, report.render()
    assert on(bookworm, "ls /root/trap; userdel -r mallory 2>/dev/null; rm -r /root/trap") == ""


async def started(machine, run: str, wanted: list, scratch):
    """A controller process that applies `wanted`, with the unit in its first step."""
    host = host_of(machine)
    process = scratch.controller(
        f"host = Host.model_validate_json({host.model_dump_json()!r})\n"
        f"wanted = Plan.model_validate_json({_as_plan(host, wanted)!r}).resources\n"
        f"asyncio.run(apply(host, wanted, run_id={run!r}))\n"
    )
    await scratch.until(
        lambda: (
            on(
                machine,
                f"grep -c ' start 0' /var/lib/converge/runs/{run}/journal.1 || :",
                check=False,
            )
            == "1"
        ),
        "the unit is in its first step",
    )
    return process


def _as_plan(host: Host, wanted: list) -> str:
    from converge import Plan

    return Plan(host=host.name, resources=tuple(wanted), changes=()).model_dump_json()


@pytest.fixture
def held_apt(bookworm):
    """apt-get waits, in the middle of its work, until it is let go."""
    hook = "while [ -e /run/hold ]; do sleep 0.1; done"
    on(
        bookworm,
        "touch /run/hold;"
        f""" echo 'DPkg::Pre-Invoke {{"{hook}";}};' >/etc/apt/apt.conf.d/99hold""",
    )
    yield lambda: on(bookworm, "rm -f /run/hold")
    on(bookworm, "rm -f /run/hold /etc/apt/apt.conf.d/99hold")


async def test_controller_killed_then_the_same_unit_is_read_on(bookworm, scratch, held_apt):
    wanted = [Package("figlet"), File("/srv/after", content="x", needs=["package:figlet"])]
    controller = await started(bookworm, "killed", wanted, scratch)
    unit = on(bookworm, "systemctl show -p MainPID --value converge-killed-1")
    os.killpg(controller.pid, signal.SIGKILL)
    controller.wait()
    again = asyncio.create_task(apply(host_of(bookworm), wanted, run_id="killed"))
    assert on(bookworm, "systemctl show -p MainPID --value converge-killed-1") == unit
    held_apt()
    report = await again
    assert report.ok and report.attached and report.passes == 1, report.render()
    assert on(bookworm, "ls /var/lib/converge/runs/killed | grep -c journal") == "1"
    assert on(bookworm, "grep -c ' install figlet:' /var/log/dpkg.log") == "1"


async def test_unit_killed_then_the_run_goes_on_in_another_pass(bookworm, scratch, held_apt):
    wanted = [Package("cowsay"), File("/srv/after-cowsay", content="x")]
    controller = await started(bookworm, "unit", wanted, scratch)
    os.killpg(controller.pid, signal.SIGKILL)
    controller.wait()
    on(bookworm, "systemctl kill -s KILL converge-unit-1")
    held_apt()
    report = await apply(host_of(bookworm), wanted, run_id="unit")
    assert report.ok and report.attached and report.changed, report.render()
    assert on(bookworm, "ls /var/lib/converge/runs/unit | grep journal") == "journal.1\njournal.2"
    assert on(bookworm, "ls -A /run/converge") == ""


async def test_power_cut_in_mid_apply_then_the_run_goes_on(servers, bookworm, scratch, held_apt):
    wanted = [Package("sl"), File("/srv/after-sl", content="x")]
    controller = await started(bookworm, "power", wanted, scratch)
    os.killpg(controller.pid, signal.SIGKILL)
    controller.wait()
    servers.kill(bookworm)
    machine = servers.power_on(bookworm)  # /run, and what holds apt-get up with it, is gone
    report = await apply(host_of(machine), wanted, run_id="power")
    assert report.ok and report.attached and report.changed, report.render()


async def test_abort_stops_apt_and_the_next_run_mends_it(bookworm, scratch, held_apt):
    wanted = [Package("cmatrix")]
    await started(bookworm, "stopped", wanted, scratch)
    assert await abort(host_of(bookworm), "stopped") is True
    held_apt()
    with pytest.raises(Aborted):
        await apply(host_of(bookworm), wanted, run_id="stopped")
    assert (await apply(host_of(bookworm), wanted)).ok


async def test_sudo_with_and_without_a_password(bookworm):
    on(bookworm, "command -v sudo >/dev/null || apt-get install -y -q sudo >/dev/null 2>&1")
    on(
        bookworm,
        "useradd -m -s /bin/bash admin; install -d -o admin -m 700 /home/admin/.ssh;"
        " install -o admin -m 600 /root/.ssh/authorized_keys /home/admin/.ssh/ ;"
        " echo 'admin:correct horse' | chpasswd; echo 'admin ALL=(ALL) ALL' >/etc/sudoers.d/admin",
    )
    wanted = [File("/etc/by-admin", content="x\n", mode="0600")]
    with pytest.raises(SudoRefused, match="asks for a password"):
        await plan(host_of(bookworm, user="admin", sudo=True), wanted)
    asking = host_of(bookworm, user="admin", sudo=True, sudo_password="env://SUDO")
    with pytest.raises(SudoRefused, match="refuses the password"):
        await plan(asking, wanted, secrets=lambda ref: b"wrong")
    report = await apply(asking, wanted, secrets=secrets)
    assert report.ok and on(bookworm, "cat /etc/by-admin") == "x"
    # Where no password is asked for it must not end up in the script.
    on(bookworm, "echo 'admin ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/admin; rm /etc/by-admin")
    assert (await apply(asking, wanted, secrets=secrets)).changed
    assert (await plan(host_of(bookworm, user="admin", sudo=True), wanted)).empty
    assert on(bookworm, "journalctl -q | grep -c 'correct horse' || :") == "0"


async def test_what_cannot_be_reached_says_why(bookworm, tmp_path):
    wanted = [File("/etc/x", content="x")]
    with pytest.raises(PermissionDenied, match="authorized_keys"):
        await plan(host_of(bookworm, user="nobody"), wanted)
    with pytest.raises(Refused, match="2222"):
        await plan(host_of(bookworm, port=2222), wanted)
    known = tmp_path / "known"
    with pytest.raises(HostKeyUnknown, match="accept-new"):
        await plan(host_of(bookworm, known_hosts=str(known)), wanted)
    new = host_of(bookworm, known_hosts=str(known), host_keys="accept-new")
    assert not (await plan(new, wanted)).empty
    assert not (await plan(host_of(bookworm, known_hosts=str(known)), wanted)).empty
    known.write_text(f"{bookworm.address} {' '.join(KEY.split()[:2])}\n")
    await close()  # what is open was verified when it was opened
    for host in (host_of(bookworm, known_hosts=str(known)), new):
        with pytest.raises(HostKeyChanged, match="another host key"):
            await plan(host, wanted)
    with pytest.raises(InvalidResources):
        await plan(Host("192.0.2.1"), [*wanted, File("/etc/x", content="y")])


async def test_connection_cut_while_following(bookworm, scratch, held_apt):
    wanted = [Package("toilet")]
    task = asyncio.create_task(apply(host_of(bookworm), wanted, run_id="cut", reconnects=5))
    await scratch.until(
        lambda: (
            on(
                bookworm,
                "grep -c ' start 0' /var/lib/converge/runs/cut/journal.1 || :",
                check=False,
            )
            == "1"
        ),
        "the unit is in its first step",
    )
    for slot in pool().slots.values():
        slot.connection.result().abort()
    held_apt()
    report = await task
    assert report.ok and report.attached and report.passes == 1
