"""Servers in a bad state: one clear error, and nothing half-done that the next run does not mend."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator

import pytest

import lab
from converge import File, Host, Package, Service, User, apply, close, plan
from converge.errors import (
    ConvergeError,
    HostFailed,
    HostKeyChanged,
    HostUnsupported,
    PermissionDenied,
    Refused,
    SudoRefused,
    Unreachable,
)
from converge.framing import new_nonce
from converge.shell import complete
from converge.talk import collect
from converge.transport import transport_for

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(bool(lab.missing()), reason="; ".join(lab.missing())),
]
PASSWORD = b"correct horse"


@pytest.fixture(scope="module")
def servers():
    place = lab.Lab(f"bad-{os.getpid()}", owner=os.getpid())
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


def host_of(machine, **more) -> Host:
    known = {"user": machine.user, "key": str(machine.key), "known_hosts": str(machine.known_hosts)}
    return Host(machine.address, **{**known, **more})


def on(machine, command: str, check: bool = True) -> str:
    done = subprocess.run(
        machine.ssh_command(command), capture_output=True, text=True, check=False, timeout=120
    )
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextlib.contextmanager
def mounted(machine, place: str, options: str) -> Iterator[None]:
    on(machine, f"mkdir -p {place}; mount -t tmpfs -o {options} none {place}")
    try:
        yield
    finally:
        on(machine, f"umount {place}")


async def test_a_full_disk_below_the_target(server):
    host = host_of(server)
    wanted = [
        File("/srv/full/large", content="x" * 300_000),
        File("/srv/elsewhere", content="x"),
        File("/srv/after", content="x", needs=["file:/srv/full/large"]),
    ]
    with mounted(server, "/srv/full", "size=128k"):
        report = await apply(host, wanted)
        assert [o.status for o in report.outcomes] == ["failed", "changed", "skipped"]
        assert "No space left" in report.outcomes[0].output, report.render()
        with pytest.raises(ConvergeError, match=rf"{server.address}.*file:/srv/full/large"):
            report.raise_for_failure()
        assert on(server, "ls -A /srv/full") == "", "something half-written was left behind"
        on(server, "mount -o remount,size=1m /srv/full")
        assert (await apply(host, wanted)).ok and (await plan(host, wanted)).empty


async def test_a_full_disk_below_our_own_state(server):
    host, wanted = host_of(server), [File("/srv/state", content="x")]
    with mounted(server, "/var/lib/converge", "size=64k"):
        on(server, "cat /dev/zero >/var/lib/converge/ballast 2>/dev/null || :")
        with pytest.raises(HostFailed, match="No space left") as caught:
            await apply(host, wanted)
        assert server.address in str(caught.value) and "/var/lib/converge" in str(caught.value)
        assert on(server, "ls /srv/state 2>/dev/null || :; ls -A /run/converge") == ""
        on(server, "rm /var/lib/converge/ballast")
        assert (await apply(host, wanted)).ok


async def test_the_disk_fills_up_while_the_run_writes_its_journal(server):
    host = host_of(server)
    wanted = [File(f"/srv/journal/{n}", content="x" * 40) for n in range(200)]
    with mounted(server, "/var/lib/converge", "size=64k"):
        # Room for the beginning of the journal only: two pages.
        on(
            server,
            "cat /dev/zero >/var/lib/converge/ballast 2>/dev/null || :;"
            " truncate -s -24576 /var/lib/converge/ballast",
        )
        # The unit works on without a word; that it ended is seen, and what it did is looked at.
        report = await apply(host, wanted, run_id="fills")
        assert report.ok, report.render()
        assert b"end ok" not in on(server, "cat /var/lib/converge/runs/fills/journal.1").encode(), (
            "the journal had room: the test shows nothing"
        )
        on(server, "rm /var/lib/converge/ballast")
        assert (await plan(host, wanted)).empty


async def test_a_read_only_file_system(server):
    host = host_of(server)
    wanted = [File("/srv/ro/x", content="x"), File("/srv/rw", content="x")]
    with mounted(server, "/srv/ro", "ro"):
        report = await apply(host, wanted)
        assert [o.status for o in report.outcomes] == ["failed", "changed"], report.render()
        assert "Read-only file system" in report.outcomes[0].output
    with (
        mounted(server, "/var/lib/converge", "ro"),
        pytest.raises(HostFailed, match=rf"{server.address}.*Read-only file system"),
    ):
        await apply(host, [File("/srv/ro2", content="x")])
    assert (await apply(host, wanted)).ok


async def test_packages_half_configured_and_an_interrupted_dpkg(server):
    """Not ours to mend behind the back: apt configures what it can, and says what it cannot.

    Only dpkg's own journal of an interrupted run is used up first (`dpkg --configure -a`), since
    apt refuses to work until it is.
    """
    on(
        server,
        "mkdir -p /srv/deb/DEBIAN; cd /srv; printf 'Package: wobbly\\nVersion: 1\\n"
        "Architecture: all\\nMaintainer: x <x@example.org>\\nDescription: x\\n'"
        " >deb/DEBIAN/control; printf '#!/bin/sh\\n[ ! -e /run/wobble ]\\n' >deb/DEBIAN/postinst;"
        " chmod 755 deb/DEBIAN/postinst; dpkg-deb -b deb wobbly.deb >/dev/null; touch /run/wobble;"
        " dpkg -i wobbly.deb >/dev/null 2>&1 || :",
    )
    host = host_of(server)
    shown = await plan(host, [Package("wobbly")])
    assert [c.action for c in shown.changes] == ["update"] and "iF" in shown.render()
    report = await apply(host, [Package("wobbly"), Package("figlet")])
    assert [o.status for o in report.outcomes] == ["failed", "changed"], report.render()
    assert (
        "wobbly" in report.outcomes[0].output and "post-installation" in report.outcomes[0].output
    )
    # Somebody else's broken package does not keep ours out.
    other = await apply(host, [Package("toilet")])
    assert other.ok and other.changed, other.render()
    on(server, "rm /run/wobble; touch /var/lib/dpkg/updates/0000")
    mended = await apply(host, [Package("wobbly"), Package("cowsay")])
    assert mended.ok, mended.render()
    assert on(server, "dpkg --audit") == ""


async def test_no_systemd(server):
    host = host_of(server)
    with mounted(server, "/run/systemd", "size=1m"):
        wanted = [File("/srv/plain", content="x"), Service("ssh", running=True), User("plain")]
        report = await apply(host, wanted, run_id="plain")
        assert [o.status for o in report.outcomes] == ["changed", "failed", "changed"]
        assert "systemd does not run there" in str(report.outcomes[1]), report.render()
        again = await apply(host, wanted, run_id="plain")
        assert again.attached and again.outcomes == report.outcomes
    assert (await apply(host, wanted)).ok


async def test_a_busybox_userland(server):
    """A login that sees busybox and nothing else."""
    on(
        server,
        "apt-get install -y -q busybox-static >/dev/null 2>&1; mkdir -p /srv/bb/bin /srv/bb/etc"
        " /srv/bb/dev /srv/bb/home /srv/bb/proc; cp /bin/busybox /srv/bb/bin/;"
        " for t in $(busybox --list | grep -v busybox); do ln -sf busybox /srv/bb/bin/$t; done;"
        " mknod -m 666 /srv/bb/dev/null c 1 3; mount -t proc none /srv/bb/proc;"
        " useradd -d /home/bb -s /bin/sh bb; install -d -o bb -m 700 /srv/bb/home/bb;"
        " cp /etc/passwd /etc/group /srv/bb/etc/; mkdir -p /etc/ssh/bb;"
        " install -m 644 /root/.ssh/authorized_keys /etc/ssh/bb/; printf 'Match User bb\\n"
        " ChrootDirectory /srv/bb\\n AuthorizedKeysFile /etc/ssh/bb/authorized_keys\\n'"
        " >/etc/ssh/sshd_config.d/99-bb.conf; systemctl restart ssh",
    )
    host = host_of(server, user="bb")
    wanted = [
        File("/home/bb/a dir/it's", content="one\n", mode="0640"),
        File("/home/bb/two", content="x" * 200_000),
        Package("hello"),
        Service("cron", running=True),
    ]
    # Debian's busybox comes without the one tool that nothing stands in for.
    with pytest.raises((HostUnsupported, HostFailed), match=rf"{server.address}.*flock"):
        await apply(host, wanted)
    on(
        server,
        "cp /usr/bin/flock /srv/bb/bin/; for l in $(ldd /usr/bin/flock | grep -o '/[^ ]*'); do"
        " mkdir -p /srv/bb${l%/*}; cp -L $l /srv/bb$l; done",
    )
    report = await apply(host, wanted)
    assert [o.status for o in report.outcomes] == ["changed", "changed", "failed", "failed"], (
        report.render()
    )
    assert "no dpkg" in str(report.outcomes[2]) and "systemd" in str(report.outcomes[3])
    assert on(server, 'cat "/srv/bb/home/bb/a dir/it\'s"') == "one"
    assert (await plan(host, wanted[:2])).empty
    assert (await apply(host, [File(wanted[0].name, absent=True)])).ok


async def test_what_the_shell_behind_a_sudo_password_says_is_told(server):
    host = host_of(server, user="admin", sudo=True, sudo_password="env://SUDO")
    nonce = new_nonce()
    broken = complete("if true; then")
    with pytest.raises(HostFailed, match=r"(?i)syntax error") as caught:
        await collect(transport_for(host), host, nonce, broken, PASSWORD)
    assert server.address in str(caught.value) and "correct" not in str(caught.value)
    # And it stays out of the records of a script that speaks.
    speaks = complete(
        f"rec() {{ printf '\\n%s %s\\n' {nonce} \"$*\"; }}\nrec a; echo oops >&2; rec ."
    )
    heard = await collect(transport_for(host), host, nonce, speaks, PASSWORD)
    assert [(r.kind, r.body) for r in heard] == [("a", b""), (".", b"")]


async def test_sudo_that_asks_and_is_given_nothing_or_the_wrong_thing(server):
    wanted = [File("/etc/x", content="x")]
    with pytest.raises(SudoRefused, match=rf"{server.address}.*asks for a password"):
        await plan(host_of(server, user="admin", sudo=True), wanted)
    asking = host_of(server, user="admin", sudo=True, sudo_password="env://SUDO")
    with pytest.raises(SudoRefused, match=rf"{server.address}.*refuses the password"):
        await apply(asking, wanted, secrets=lambda ref: b"wrong")
    assert on(server, "ls /etc/x 2>/dev/null || :") == ""


async def test_a_host_that_is_down_refuses_or_changed_its_key(servers, server, tmp_path):
    wanted = [File("/etc/x", content="x")]
    with pytest.raises(PermissionDenied, match=server.address):
        await apply(host_of(server, user="nobody"), wanted)
    with pytest.raises(Refused, match=rf"{server.address}.*2222"):
        await apply(host_of(server, port=2222), wanted)
    known = tmp_path / "known"
    key = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
    known.write_text(f"{server.address} ssh-ed25519 {key}\n")
    with pytest.raises(HostKeyChanged, match=server.address):
        await apply(host_of(server, known_hosts=str(known)), wanted)
    await close()
    (gone,) = servers.add(1)
    servers.kill(gone)
    with pytest.raises(Unreachable, match=gone.address) as caught:
        await apply(host_of(gone, connect_timeout=3.0), wanted)
    assert caught.value.retryable
    assert on(server, "ls /etc/x 2>/dev/null || :") == ""
