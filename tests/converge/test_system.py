"""The types that settle the system, on real servers: made, as declared, changed, removed."""

from __future__ import annotations

import pytest

import lab
from converge import (
    Command,
    Cron,
    File,
    Hostname,
    HostsEntry,
    KernelModule,
    Locale,
    Mount,
    Nftables,
    Package,
    PostgresDatabase,
    PostgresRole,
    Service,
    Sshd,
    Sudoers,
    Swap,
    Sysctl,
    Timer,
    Timezone,
    UnattendedUpgrades,
    Unit,
    apply,
    plan,
)
from converge.resources.owned import Owned
from tests.converge.servers import host_of, on
from tests.converge.system_examples import RULES

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(bool(lab.missing()), reason="; ".join(lab.missing())),
]
SECRETS = {"env://ONE": b"one-long-password", "env://TWO": b"two-long-password"}


@pytest.fixture(scope="module")
def system_lab():
    import os

    place = lab.Lab(f"system-{os.getpid()}", owner=os.getpid())
    try:
        yield place
    finally:
        place.down()


def _once(release: str):
    """Servers are slow to provision: one of a release, shared by all tests of this module."""

    @pytest.fixture(scope="module")
    def up(system_lab):
        return system_lab.add(1, release=release)[0]

    return up


bookworm, trixie = _once("bookworm"), _once("trixie")


@pytest.fixture(params=["bookworm", "trixie"])
def server(request):
    return request.getfixturevalue(request.param)


async def settled(machine, wanted):
    """Applied without a failure, and nothing left to do."""
    host = host_of(machine)
    report = await apply(host, wanted, secrets=SECRETS.__getitem__)
    assert report.ok, report.render()
    again = await plan(host, wanted, secrets=SECRETS.__getitem__)
    assert again.empty, again.render()
    marks = {r.marker for r in wanted if isinstance(r, Owned)}
    assert not marks & set(on(machine, "ls /var/lib/converge/pending").split())
    return {outcome.resource: outcome for outcome in report.outcomes}


async def failed(machine, resource, *around):
    """Why it could not be done, with what it printed."""
    report = await apply(host_of(machine), [*around, resource], secrets=SECRETS.__getitem__)
    outcome = next(o for o in report.outcomes if o.resource == resource.id)
    assert outcome.status in ("failed", "unknown"), report.render()
    return f"{outcome.because}\n{outcome.output}"


async def test_identity(server):
    await settled(
        server,
        [
            Hostname("web1"),
            Timezone("Europe/Berlin"),
            HostsEntry("10.9.8.7", names=["db1", "db1.internal"]),
            HostsEntry("fd00::7", names=["six"]),
        ],
    )
    assert on(server, "hostname; cat /etc/hostname; date +%Z").split() == [
        "web1",
        "web1",
        on(server, "TZ=Europe/Berlin date +%Z"),
    ]
    assert on(server, "getent hosts db1").split()[0] == "10.9.8.7"
    on(
        server,
        "hostname elsewhere; ln -sf /usr/share/zoneinfo/Etc/UTC /etc/localtime;"
        " echo '10.9.8.7 stray' >>/etc/hosts",
    )
    drifted = await plan(
        host_of(server),
        [Hostname("web1"), Timezone("Europe/Berlin"), HostsEntry("10.9.8.7", names=["db1"])],
    )
    assert len(drifted.changes) == 3, drifted.render()
    done = await settled(
        server,
        [
            Hostname("web2"),
            Timezone("America/Lima"),
            HostsEntry("10.9.8.7", names=["db2"]),
            HostsEntry("fd00::7", absent=True),
        ],
    )
    assert {o.status for o in done.values()} == {"changed"}
    assert (
        on(
            server,
            "grep -c '^10.9.8.7' /etc/hosts; grep -c six /etc/hosts; grep -c localhost /etc/hosts",
        )
        == "1\n0\n2"
    )
    assert "no zone Mars/Base" in await failed(server, Timezone("Mars/Base"))


async def test_kernel(bookworm):
    key = "net.ipv4.conf.all.log_martians"
    await settled(
        bookworm, [Sysctl(key, value=1), Sysctl("vm.dirty_ratio", value=33, runtime=False)]
    )
    assert on(bookworm, f"sysctl -n {key}; cat /etc/sysctl.d/zz-vm-dirty_ratio.conf") == (
        "1\nvm/dirty_ratio = 33"
    )
    on(bookworm, f"sysctl -qw {key}=0")
    done = await settled(bookworm, [Sysctl(key, value=1)])
    assert done[f"sysctl:{key}"].status == "changed"
    await settled(bookworm, [Sysctl(key, absent=True), Sysctl("vm.dirty_ratio", absent=True)])
    assert on(bookworm, "ls /etc/sysctl.d/zz-* 2>/dev/null || :") == ""
    # What a container may not do is told before anything is tried.
    assert "read-only in this container" in await failed(
        bookworm, Sysctl("vm.swappiness", value=17)
    )
    assert "a container cannot load" in await failed(bookworm, KernelModule("dummy_of_ours"))
    assert "refuses" in await failed(bookworm, Sysctl("net.ipv4.ip_forward", value="a lot"))
    assert "no such parameter" in await failed(bookworm, Sysctl("net.ipv4.ip_forwards", value=1))
    assert on(bookworm, "ls /etc/modules-load.d/dummy* 2>/dev/null || :") == ""


async def test_mounts_and_swap(bookworm):
    cache = {"source": "tmpfs", "fstype": "tmpfs"}
    bind = {"source": "/srv/real", "fstype": "none"}
    wanted = [
        File("/srv/real/x", content="x\n"),
        File("/srv/other/x", content="other\n"),
        Mount("/srv/ca che", options=["size=5M", "nosuid"], **cache),
        Mount("/srv/bound", options=["bind", "ro"], **bind),
        Swap("/swapfile", size="8M", active=False),
    ]
    await settled(bookworm, wanted)
    assert on(
        bookworm, "stat -f -c %T '/srv/ca che'; cat /srv/bound/x; touch /srv/bound/y 2>&1 || :"
    ).split("\n")[:2] == ["tmpfs", "x"]
    assert (
        on(bookworm, "ls /srv/bound; stat -c '%a %s' /swapfile; blkid -o value -s TYPE /swapfile")
        == "x\n600 8388608\nswap"
    )
    assert on(bookworm, "findmnt --verify >/dev/null && grep -c srv /etc/fstab") == "2"
    on(bookworm, "touch '/srv/ca che/kept'; umount /srv/bound")
    changed = [
        *wanted[:2],
        Mount("/srv/ca che", options=["size=6M", "nosuid", "noexec"], **cache),
        Mount("/srv/bound", source="/srv/other", fstype="none", options=["bind"]),
        Swap("/swapfile", size="9M", active=False),
    ]
    await settled(bookworm, changed)
    assert on(
        bookworm, "ls '/srv/ca che'; cat /srv/bound/x; touch /srv/bound/y; ls /srv/other"
    ) == ("kept\nother\nx\ny"), "remounted in place, and bound anew"
    on(bookworm, "systemd-run -q --unit holder -p WorkingDirectory='/srv/ca che' sleep 600")
    assert "in use" in await failed(bookworm, Mount("/srv/ca che", absent=True))
    on(bookworm, "systemctl stop holder")
    await settled(
        bookworm,
        [
            Mount("/srv/ca che", absent=True),
            Mount("/srv/bound", absent=True),
            Swap("/swapfile", absent=True),
        ],
    )
    assert on(
        bookworm, "grep -c srv /etc/fstab; grep -c /srv /proc/mounts; ls /swapfile 2>&1 || :"
    ).startswith("0\n0")
    assert "a container cannot turn swap on" in await failed(bookworm, Swap("/swapfile", size="8M"))
    assert "cannot mount" in await failed(bookworm, Mount("/srv/n", source="x", fstype="nosuchfs"))


def app(text: str, **more) -> Unit:
    return Unit(
        "app.service",
        sections={
            "Service": {"ExecStart": f"/bin/sh -c '{text}'", **more},
            "Install": {"WantedBy": "multi-user.target"},
        },
    )


async def test_units_and_services(bookworm):
    unit = app("sleep 1001")
    service = Service("app", running=True, enabled=True, on_change=[unit])
    await settled(bookworm, [service, unit])
    first = on(bookworm, "systemctl show -p MainPID --value app")
    await settled(bookworm, [service, app("sleep 1002")])
    assert on(bookworm, "systemctl show -p MainPID --value app") != first
    assert "1002" in on(bookworm, "systemctl status app")
    drop = Unit(
        "app.service", drop_in="limits", sections={"Service": {"LimitNOFILE": 777}}, restart=True
    )
    await settled(bookworm, [service, app("sleep 1002"), drop])
    pid = on(bookworm, "systemctl show -p MainPID --value app")
    assert "777" in on(bookworm, f"grep 'open files' /proc/{pid}/limits")
    # Written behind our back and not loaded yet.
    on(bookworm, "echo '# x' >>/etc/systemd/system/app.service.d/limits.conf")
    assert not (await plan(host_of(bookworm), [drop])).empty
    why = await failed(bookworm, Unit("odd.service", content="[Service]\nType=oneshot\n"))
    assert "systemd refuses odd.service" in why
    await settled(bookworm, [Service("app", masked=False, running=False, enabled=False)])
    await settled(
        bookworm,
        [
            Unit("app.service", drop_in="limits", absent=True),
            Unit("app.service", absent=True),
            Unit("odd.service", absent=True),
        ],
    )
    assert on(bookworm, "systemctl show -p LoadState --value app") == "not-found"
    await settled(bookworm, [Service("app", masked=True)])
    assert on(bookworm, "systemctl is-enabled app || :") == "masked"
    await settled(bookworm, [Service("app", masked=False)])
    assert on(bookworm, "ls /etc/systemd/system/app* 2>/dev/null || :") == ""


async def test_a_service_that_dies_right_after_its_start_has_not_started(bookworm):
    dies = app("sleep 0.3; exit 3")
    why = await failed(bookworm, Service("app", running=True), dies)
    assert "did not stay up" in why and "is failed" in why
    again = app("sleep 0.3; exit 3", Restart="always", RestartSec="100ms")
    why = await failed(bookworm, Service("app", running=True), again)
    assert "did not stay up" in why
    stays = app("sleep 1003", Restart="always", RestartSec="100ms")
    service = Service("app", running=True, on_change=[stays])
    await settled(bookworm, [stays, service])
    # A restart is looked at like a start, and what it was for is not forgotten.
    why = await failed(bookworm, Service("app", running=True, on_change=[again]), again)
    assert "did not stay up" in why
    on(bookworm, "systemctl stop app")
    await settled(bookworm, [stays, service])
    await settled(bookworm, [Unit("app.service", absent=True)])


async def test_timers(bookworm):
    tick = Timer(
        "tick",
        command="/bin/sh -c 'echo $A >/root/ticked'",
        on_calendar=["*-*-* 02:30"],
        environment={"A": 'b "c" 50%'},
        randomized_delay="5min",
    )
    await settled(bookworm, [tick])
    on(bookworm, "systemctl start tick.service")
    assert on(bookworm, "cat /root/ticked; systemctl is-active tick.timer") == 'b "c" 50%\nactive'
    on(bookworm, "systemctl disable -q --now tick.timer")
    changed = Timer("tick", command="/bin/true", on_boot="5min", on_unit_active="1h", user="daemon")
    await settled(bookworm, [changed])
    assert "OnUnitActiveUSec=1h" in on(bookworm, "systemctl show tick.timer -p TimersMonotonic")
    bad = Timer("tock", command="/bin/true", on_calendar=["Mondays 25:00"])
    assert "no calendar time" in await failed(bookworm, bad)
    assert on(bookworm, "ls /etc/systemd/system/tock* 2>/dev/null || :") == ""
    mine = Unit("own.service", content="[Service]\nExecStart=/bin/true\n")
    await settled(bookworm, [mine, Timer("own", unit="own.service", on_calendar="daily")])
    await settled(bookworm, [Timer("tick", absent=True), Timer("own", absent=True), mine])
    assert on(bookworm, "ls /etc/systemd/system | grep -E 'tick|own'") == "own.service"
    await settled(bookworm, [Unit("own.service", absent=True)])


async def test_sudoers_are_live_only_if_sound(bookworm):
    await settled(
        bookworm, [Sudoers("daemon", user="daemon", commands=["/usr/bin/id -u"], nopasswd=True)]
    )
    assert (
        on(
            bookworm,
            "runuser -u daemon -- sudo -n /usr/bin/id -u; stat -c '%a' /etc/sudoers.d/daemon",
        )
        == "0\n440"
    )
    bad = Sudoers("daemon", content="daemon ALL=(ALL oops\n")
    why = await failed(bookworm, bad)
    assert "left as it was" in why
    assert (
        on(
            bookworm,
            "runuser -u daemon -- sudo -n /usr/bin/id -u; ls -A /etc/sudoers.d | grep conv || :",
        )
        == "0"
    )
    await settled(bookworm, [Sudoers("daemon", absent=True)])
    assert "password" in on(bookworm, "runuser -u daemon -- sudo -n /usr/bin/id -u 2>&1 || :")


async def test_sshd_settings_hold(server):
    hard = Sshd(
        "10-hard",
        settings={
            "PasswordAuthentication": False,
            "X11Forwarding": False,
            "MaxAuthTries": 4,
            "PermitRootLogin": "prohibit-password",
            "AcceptEnv": ["LANG", "LC_*"],
        },
    )
    await settled(server, [hard])
    assert "maxauthtries 4" in on(server, "sshd -T")
    changed = Sshd("10-hard", settings={"MaxAuthTries": 5})
    await settled(server, [changed, Sshd("20-m", match="User nobody", settings={"Banner": "none"})])
    assert "left as it was" in await failed(server, Sshd("10-hard", settings={"MaxAuthTries": "x"}))
    assert "maxauthtries 5" in on(server, "sshd -T")
    # sshd takes the first of two: what another file overrides is not called settled.
    over = Sshd("30-late", settings={"MaxAuthTries": 2})
    assert "maxauthtries is 5 and not 2" in await failed(server, over)
    await settled(server, [Sshd(name, absent=True) for name in ("10-hard", "20-m", "30-late")])
    assert "maxauthtries 6" in on(server, "sshd -T")


async def test_the_loaded_ruleset_counts(bookworm):
    await settled(bookworm, [Package("nftables"), Nftables(content=RULES)])
    assert on(bookworm, "systemctl is-enabled nftables") == "enabled"
    on(bookworm, "nft add element inet filter seen '{ 10.0.0.1 }'")
    assert (await plan(host_of(bookworm), [Nftables(content=RULES)])).empty, (
        "comes and goes by itself"
    )
    on(bookworm, "nft add rule inet filter input tcp dport 8080 accept")
    drifted = await plan(host_of(bookworm), [Nftables(content=RULES)])
    assert "8080" in drifted.render() and drifted.count("update") == 1
    await settled(bookworm, [Nftables(content=RULES)])
    why = await failed(bookworm, Nftables(content="table inet filter { chain x { oops; } }\n"))
    assert "left as it was" in why and "22" in on(bookworm, "nft list ruleset")
    # One table of ours beside those of others.
    mine = "table ip mine {\n  chain out { type filter hook output priority 0; }\n}\n"
    await settled(bookworm, [Nftables("/etc/nftables.mine", content=mine)])
    assert "table inet filter" in on(bookworm, "nft list tables")
    await settled(bookworm, [Nftables("/etc/nftables.mine", absent=True)])
    assert "ip mine" not in on(bookworm, "nft list tables; cat /etc/nftables.conf")
    await settled(bookworm, [Nftables(absent=True)])
    on(bookworm, "nft flush ruleset")


async def test_cron_locale_and_upgrades(server):
    wanted = [
        Package("cron"),
        Package("locales"),
        Cron("job", schedule="@daily", command="date +%s"),
        Locale("de_DE.UTF-8", default=True),
        UnattendedUpgrades("security", reboot="04:30", blacklist=["postgresql-.*"], timers=False),
    ]
    assert "would never run" in await failed(server, wanted[2])
    await settled(server, wanted)
    assert on(server, "LC_ALL=de_DE.UTF-8 date -d 2024-03-01 +%B; cat /etc/default/locale") == (
        "März\nLANG=de_DE.UTF-8"
    )
    shell = "apt-config shell X Unattended-Upgrade::Automatic-Reboot-Time; apt-config dump"
    assert "04:30" in on(server, shell) and "postgresql-.*" in on(server, shell)
    on(server, "unattended-upgrade --dry-run")
    await settled(
        server,
        [
            Cron("job", schedule="1 2 * * mon", command="x", user="daemon"),
            Locale("de_DE.UTF-8", absent=True),
            Locale("C.UTF-8", default=True),
            UnattendedUpgrades("all", timers=False),
        ],
    )
    assert on(server, "locale -a | grep -c de_DE; cat /etc/cron.d/job") == "0\n1 2 * * mon daemon x"
    on(server, "echo 'APT::Periodic::Unattended-Upgrade \"0\";' >/etc/apt/apt.conf.d/99late")
    assert "a later file" in await failed(server, UnattendedUpgrades("all", timers=False))
    on(server, "rm /etc/apt/apt.conf.d/99late")
    await settled(server, [Cron("job", absent=True), UnattendedUpgrades("off")])
    assert "neither on the host nor declared" in await failed(
        server, Cron("job", schedule="@daily", command="x", user="nobody-at-all")
    )


async def test_postgres(server):
    odd = "we'ird \"x\\$(id)"
    wanted = [
        Package("postgresql"),
        PostgresRole("readers", login=False),
        PostgresRole("app", password="env://ONE", member_of=["readers"], connection_limit=5),
        PostgresRole(odd, createdb=True),
        PostgresDatabase(
            "app",
            owner="app",
            encoding="UTF8",
            locale="C.UTF-8",
            privileges={"readers": ["connect"], "public": []},
            extensions=["pg_trgm"],
        ),
        PostgresDatabase(odd, owner=odd, extensions=["plpgsql"]),
    ]
    await settled(server, wanted)

    def login(password: str) -> str:
        return on(
            server,
            f"PGPASSWORD={password} psql -h 127.0.0.1 -U app app -Atc"
            " 'SELECT current_user' 2>&1 || :",
        )

    assert login("one-long-password") == "app" and "failed" in login("two-long-password")
    await settled(
        server,
        [
            PostgresRole("app", password="env://TWO", createdb=True),
            PostgresDatabase(
                "app", owner="postgres", privileges={"readers": ["connect", "create"]}
            ),
        ],
    )
    assert login("two-long-password") == "app"
    assert "decided when it is created" in await failed(
        server, PostgresDatabase("app", encoding="LATIN1")
    )
    assert "not-there" in await failed(server, PostgresDatabase("more", owner="not-there"))
    assert "depend" in await failed(server, PostgresRole(odd, absent=True))
    on(server, "systemctl stop postgresql@*")
    assert "does not answer" in await failed(server, PostgresRole("later"))
    on(server, "systemctl start postgresql")
    await settled(
        server, [PostgresDatabase("app", absent=True), PostgresDatabase(odd, absent=True)]
    )
    await settled(server, [PostgresRole(name, absent=True) for name in ("app", "readers", odd)])
    leak = on(
        server,
        "grep -rlE 'long-password|SCRAM-SHA-256[$]' /var/lib/converge /run/converge"
        " /var/log/postgresql || :",
    )
    assert leak == "", leak


async def test_commands_run_once_and_say_what_they_printed(bookworm):
    make = Command(
        "make it",
        run='id -un; pwd; echo "$A $T"; date +%N >>$HOME/made',
        creates="/var/lib/made/made",
        user="maker",
        cwd="/var/lib/made",
        environment={"A": "a'b"},
        secrets_environment={"T": "env://ONE"},
    )
    on(bookworm, "useradd -d /var/lib/made -m maker")
    done = await settled(bookworm, [make])
    assert done[make.id].output == "maker\n/var/lib/made\na'b (secret)"
    again = await apply(host_of(bookworm), [make], secrets=SECRETS.__getitem__)
    assert not again.changed and on(bookworm, "wc -l </var/lib/made/made") == "1"
    gate = Command(
        "gate", run="touch /root/gate", unless="test -e /root/gate", onlyif="test -e /root/asked"
    )
    assert (await settled(bookworm, [gate]))[gate.id].status == "unchanged"
    on(bookworm, "touch /root/asked")
    assert (await settled(bookworm, [gate]))[gate.id].status == "changed"
    assert "status 7" in await failed(bookworm, Command("exit 7", creates="/nowhere"))
    assert "ended after" in await failed(bookworm, Command("sleep 60", creates="/x", timeout=0.5))
    report = await apply(host_of(bookworm), [Command("true", creates="/nowhere")])
    assert not report.ok, "what says that it is done still says that it is not"


async def test_a_command_that_follows_a_change_is_not_forgotten(bookworm):
    def wanted(text: str, command: str):
        seed = File("/root/seed", content=text)
        return [seed, Command("follow", run=command, on_change=[seed])]

    await settled(bookworm, wanted("1", "echo once >>/root/followed"))
    await settled(bookworm, wanted("1", "echo once >>/root/followed"))
    assert on(bookworm, "cat /root/followed") == "once"
    report = await apply(host_of(bookworm), wanted("2", "exit 9"))
    assert not report.ok
    late = await plan(host_of(bookworm), wanted("2", "echo late >>/root/followed"))
    assert [c.resource for c in late.changes] == ["command:follow"], late.render()
    await settled(bookworm, wanted("2", "echo late >>/root/followed"))
    assert on(bookworm, "cat /root/followed") == "once\nlate"


async def test_what_would_lock_us_out_is_taken_back(bookworm):
    closed = RULES.replace("tcp dport { 22, 80 } counter accept", "").replace(
        "ct state established,related accept", ""
    )
    host = host_of(bookworm)
    await settled(bookworm, [Package("nftables")])
    for wanted in (Nftables(content=closed), Sshd("10-x", settings={"AllowUsers": "nobody"})):
        report = await apply(host, [wanted], confirm_within=5)
        (outcome,) = report.outcomes
        assert outcome.status == "failed" and "reverted" in outcome.because, report.render()
    assert "policy drop" not in on(bookworm, "nft list ruleset; sshd -T | grep -c allowusers || :")


async def test_upgrades_keep_apts_timers_going(bookworm):
    # Masked here, as are all that would work beside the tests: that it is last matters.
    await settled(bookworm, [UnattendedUpgrades("security")])
    timers = "apt-daily.timer apt-daily-upgrade.timer"
    assert on(bookworm, f"systemctl is-active {timers}") == "active\nactive"
