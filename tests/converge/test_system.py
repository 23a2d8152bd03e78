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


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def server(request, system_lab):
    return system_lab.add(1, release=request.param)[0]


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
    await settled(server, [
        Hostname("web1"), Timezone("Europe/Berlin"),
        HostsEntry("10.9.8.7", names=["db1", "db1.internal"]), HostsEntry("fd00::7", names=["six"]),
    ])
    assert on(server, "hostname; cat /etc/hostname; date +%Z").split() == [
        "web1", "web1", on(server, "TZ=Europe/Berlin date +%Z")]
    assert on(server, "getent hosts db1").split()[0] == "10.9.8.7"
    on(server, "hostname elsewhere; ln -sf /usr/share/zoneinfo/Etc/UTC /etc/localtime;"
       " echo '10.9.8.7 stray' >>/etc/hosts")
    drifted = await plan(host_of(server), [Hostname("web1"), Timezone("Europe/Berlin"),
                                           HostsEntry("10.9.8.7", names=["db1"])])
    assert len(drifted.changes) == 3, drifted.render()
    done = await settled(server, [Hostname("web2"), Timezone("Etc/UTC"),
                                  HostsEntry("10.9.8.7", names=["db2"]),
                                  HostsEntry("fd00::7", absent=True)])
    assert {o.status for o in done.values()} == {"changed"}
    assert on(server, "grep -c '^10.9.8.7' /etc/hosts; grep -c six /etc/hosts; grep -c localhost"
                      " /etc/hosts") == "1\n0\n2"
    assert "no zone Mars/Base" in await failed(server, Timezone("Mars/Base"))


async def test_kernel(server):
    key = "net.ipv4.conf.all.log_martians"
    await settled(server, [Sysctl(key, value=1), Sysctl("vm.dirty_ratio", value=33, runtime=False)])
    assert on(server, f"sysctl -n {key}; cat /etc/sysctl.d/zz-vm-dirty_ratio.conf") == (
        "1\nvm/dirty_ratio = 33")
    on(server, f"sysctl -qw {key}=0")
    done = await settled(server, [Sysctl(key, value=1)])
    assert done[f"sysctl:{key}"].status == "changed"
    await settled(server, [Sysctl(key, absent=True), Sysctl("vm.dirty_ratio", absent=True)])
    assert on(server, "ls /etc/sysctl.d/zz-* 2>/dev/null || :") == ""
    # What a container may not do is told before anything is tried.
    assert "read-only in this container" in await failed(server, Sysctl("vm.swappiness", value=17))
    assert "a container cannot load" in await failed(server, KernelModule("dummy_of_ours"))
    assert "refuses" in await failed(server, Sysctl("net.ipv4.ip_forward", value="a lot"))
    assert "no such parameter" in await failed(server, Sysctl("net.ipv4.ip_forwards", value=1))
    assert on(server, "ls /etc/modules-load.d/dummy* 2>/dev/null || :") == ""


async def test_mounts_and_swap(server):
    cache = {"source": "tmpfs", "fstype": "tmpfs"}
    bind = {"source": "/srv/real", "fstype": "none"}
    wanted = [
        File("/srv/real/x", content="x\n"), File("/srv/other/x", content="other\n"),
        Mount("/srv/ca che", options=["size=5M", "nosuid"], **cache),
        Mount("/srv/bound", options=["bind", "ro"], **bind),
        Swap("/swapfile", size="8M", active=False),
    ]
    await settled(server, wanted)
    assert on(server, "stat -f -c %T '/srv/ca che'; cat /srv/bound/x; touch /srv/bound/y 2>&1 || :"
              ).split("\n")[:2] == ["tmpfs", "x"]
    assert on(server, "ls /srv/bound; stat -c '%a %s' /swapfile; blkid -o value -s TYPE /swapfile"
              ) == "x\n600 8388608\nswap"
    assert on(server, "findmnt --verify >/dev/null && grep -c srv /etc/fstab") == "2"
    on(server, "touch '/srv/ca che/kept'; umount /srv/bound")
    changed = [
        *wanted[:2],
        Mount("/srv/ca che", options=["size=6M", "nosuid", "noexec"], **cache),
        Mount("/srv/bound", source="/srv/other", fstype="none", options=["bind"]),
        Swap("/swapfile", size="9M", active=False),
    ]
    await settled(server, changed)
    assert on(server, "ls '/srv/ca che'; cat /srv/bound/x; touch /srv/bound/y; ls /srv/other") == (
        "kept\nother\nx\ny"), "remounted in place, and bound anew"
    on(server, "systemd-run -q --unit holder -p WorkingDirectory='/srv/ca che' sleep 600")
    assert "in use" in await failed(server, Mount("/srv/ca che", absent=True))
    on(server, "systemctl stop holder")
    await settled(server, [Mount("/srv/ca che", absent=True), Mount("/srv/bound", absent=True),
                           Swap("/swapfile", absent=True)])
    assert on(server, "grep -c srv /etc/fstab; grep -c /srv /proc/mounts; ls /swapfile 2>&1 || :"
              ).startswith("0\n0")
    assert "a container cannot turn swap on" in await failed(server, Swap("/swapfile", size="8M"))
    assert "cannot mount" in await failed(server, Mount("/srv/n", source="x", fstype="nosuchfs"))


def app(text: str, **more) -> Unit:
    return Unit("app.service", sections={
        "Service": {"ExecStart": f"/bin/sh -c '{text}'", **more},
        "Install": {"WantedBy": "multi-user.target"}})


async def test_units_and_services(server):
    unit = app("sleep 1001")
    service = Service("app", running=True, enabled=True, on_change=[unit])
    await settled(server, [service, unit])
    first = on(server, "systemctl show -p MainPID --value app")
    await settled(server, [service, app("sleep 1002")])
    assert on(server, "systemctl show -p MainPID --value app") != first
    assert "1002" in on(server, "systemctl status app")
    drop = Unit("app.service", drop_in="limits", sections={"Service": {"LimitNOFILE": 777}},
                restart=True)
    await settled(server, [service, app("sleep 1002"), drop])
    pid = on(server, "systemctl show -p MainPID --value app")
    assert "777" in on(server, f"grep 'open files' /proc/{pid}/limits")
    # Written behind our back and not loaded yet.
    on(server, "echo '# x' >>/etc/systemd/system/app.service.d/limits.conf")
    assert not (await plan(host_of(server), [drop])).empty
    why = await failed(server, Unit("odd.service", content="[Service]\nType=oneshot\n"))
    assert "systemd refuses odd.service" in why
    await settled(server, [Service("app", masked=False, running=False, enabled=False)])
    await settled(server, [Unit("app.service", drop_in="limits", absent=True),
                           Unit("app.service", absent=True), Unit("odd.service", absent=True)])
    assert on(server, "systemctl show -p LoadState --value app") == "not-found"
    await settled(server, [Service("app", masked=True)])
    assert on(server, "systemctl is-enabled app || :") == "masked"
    await settled(server, [Service("app", masked=False)])
    assert on(server, "ls /etc/systemd/system/app* 2>/dev/null || :") == ""


async def test_a_service_that_dies_right_after_its_start_has_not_started(server):
    dies = app("sleep 0.3; exit 3")
    why = await failed(server, Service("app", running=True), dies)
    assert "did not stay up" in why and "is failed" in why
    again = app("sleep 0.3; exit 3", Restart="always", RestartSec="100ms")
    why = await failed(server, Service("app", running=True), again)
    assert "did not stay up" in why
    stays = app("sleep 1003", Restart="always", RestartSec="100ms")
    service = Service("app", running=True, on_change=[stays])
    await settled(server, [stays, service])
    # A restart is looked at like a start, and what it was for is not forgotten.
    why = await failed(server, Service("app", running=True, on_change=[again]), again)
    assert "did not stay up" in why
    on(server, "systemctl stop app")
    await settled(server, [stays, service])
    await settled(server, [Unit("app.service", absent=True)])


async def test_timers(server):
    tick = Timer("tick", command="/bin/sh -c 'echo $A >/root/ticked'", on_calendar=["*-*-* 02:30"],
                 environment={"A": "b \"c\" 50%"}, randomized_delay="5min")
    await settled(server, [tick])
    on(server, "systemctl start tick.service")
    assert on(server, "cat /root/ticked; systemctl is-active tick.timer") == 'b "c" 50%\nactive'
    on(server, "systemctl disable -q --now tick.timer")
    changed = Timer("tick", command="/bin/true", on_boot="5min", on_unit_active="1h", user="daemon")
    await settled(server, [changed])
    assert "OnUnitActiveUSec=1h" in on(server, "systemctl show tick.timer -p TimersMonotonic")
    bad = Timer("tock", command="/bin/true", on_calendar=["Mondays 25:00"])
    assert "no calendar time" in await failed(server, bad)
    assert on(server, "ls /etc/systemd/system/tock* 2>/dev/null || :") == ""
    mine = Unit("own.service", content="[Service]\nExecStart=/bin/true\n")
    await settled(server, [mine, Timer("own", unit="own.service", on_calendar="daily")])
    await settled(server, [Timer("tick", absent=True), Timer("own", absent=True), mine])
    assert on(server, "ls /etc/systemd/system | grep -E 'tick|own'") == "own.service"
    await settled(server, [Unit("own.service", absent=True)])


async def test_sudoers_are_live_only_if_sound(server):
    await settled(server, [
        Sudoers("daemon", user="daemon", commands=["/usr/bin/id -u"], nopasswd=True)])
    assert on(server, "runuser -u daemon -- sudo -n /usr/bin/id -u; stat -c '%a' /etc/sudoers.d/daemon"
              ) == "0\n440"
    bad = Sudoers("daemon", content="daemon ALL=(ALL oops\n")
    why = await failed(server, bad)
    assert "left as it was" in why
    assert on(server, "runuser -u daemon -- sudo -n /usr/bin/id -u; ls -A /etc/sudoers.d | grep conv"
                      " || :") == "0"
    await settled(server, [Sudoers("daemon", absent=True)])
    assert "password" in on(server, "runuser -u daemon -- sudo -n /usr/bin/id -u 2>&1 || :")


async def test_sshd_settings_hold(server):
    hard = Sshd("10-hard", settings={
        "PasswordAuthentication": False, "X11Forwarding": False, "MaxAuthTries": 4,
        "PermitRootLogin": "prohibit-password", "AcceptEnv": ["LANG", "LC_*"]})
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


async def test_the_loaded_ruleset_counts(server):
    await settled(server, [Package("nftables"), Nftables(content=RULES)])
    assert on(server, "systemctl is-enabled nftables") == "enabled"
    on(server, "nft add element inet filter seen '{ 10.0.0.1 }'")
    assert (await plan(host_of(server), [Nftables(content=RULES)])).empty, "comes and goes by itself"
    on(server, "nft add rule inet filter input tcp dport 8080 accept")
    drifted = await plan(host_of(server), [Nftables(content=RULES)])
    assert "8080" in drifted.render() and drifted.count("update") == 1
    await settled(server, [Nftables(content=RULES)])
    why = await failed(server, Nftables(content="table inet filter { chain x { oops; } }\n"))
    assert "left as it was" in why and "22" in on(server, "nft list ruleset")
    # One table of ours beside those of others.
    mine = "table ip mine {\n  chain out { type filter hook output priority 0; }\n}\n"
    await settled(server, [Nftables("/etc/nftables.mine", content=mine)])
    assert "table inet filter" in on(server, "nft list tables")
    await settled(server, [Nftables("/etc/nftables.mine", absent=True)])
    assert "ip mine" not in on(server, "nft list tables; cat /etc/nftables.conf")
    await settled(server, [Nftables(absent=True)])
    on(server, "nft flush ruleset")


async def test_cron_locale_and_upgrades(server):
    wanted = [
        Package("cron"), Package("locales"), Cron("job", schedule="@daily", command="date +%s"),
        Locale("de_DE.UTF-8", default=True),
        UnattendedUpgrades("security", reboot="04:30", blacklist=["postgresql-.*"], timers=False),
    ]
    assert "would never run" in await failed(server, wanted[2])
    await settled(server, wanted)
    assert on(server, "LC_ALL=de_DE.UTF-8 date -d 2024-03-01 +%B; cat /etc/default/locale") == (
        "März\nLANG=de_DE.UTF-8")
    shell = "apt-config shell X Unattended-Upgrade::Automatic-Reboot-Time; apt-config dump"
    assert "04:30" in on(server, shell) and "postgresql-.*" in on(server, shell)
    on(server, "unattended-upgrade --dry-run")
    await settled(server, [
        Cron("job", schedule="1 2 * * mon", command="x", user="daemon"),
        Locale("de_DE.UTF-8", absent=True), Locale("C.UTF-8", default=True),
        UnattendedUpgrades("all", timers=False)])
    assert on(server, "locale -a | grep -c de_DE; cat /etc/cron.d/job") == "0\n1 2 * * mon daemon x"
    on(server, "echo 'APT::Periodic::Unattended-Upgrade \"0\";' >/etc/apt/apt.conf.d/99late")
    assert "a later file" in await failed(server, UnattendedUpgrades("all", timers=False))
    on(server, "rm /etc/apt/apt.conf.d/99late")
    await settled(server, [Cron("job", absent=True), UnattendedUpgrades("off")])
    assert "neither on the host nor declared" in await failed(
        server, Cron("job", schedule="@daily", command="x", user="nobody-at-all"))


async def test_postgres(server):
    odd = "we'ird \"x\\$(id)"
    wanted = [
        Package("postgresql"),
        PostgresRole("readers", login=False),
        PostgresRole("app", password="env://ONE", member_of=["readers"], connection_limit=5),
        PostgresRole(odd, createdb=True),
        PostgresDatabase("app", owner="app", encoding="UTF8", locale="C.UTF-8",
                         privileges={"readers": ["connect"], "public": []},
                         extensions=["pg_trgm"]),
        PostgresDatabase(odd, owner=odd, extensions=["plpgsql"]),
    ]
    await settled(server, wanted)

    def login(password: str) -> str:
        return on(server, f"PGPASSWORD={password} psql -h 127.0.0.1 -U app app -Atc"
                          " 'SELECT current_user' 2>&1 || :")

    assert login("one-long-password") == "app" and "failed" in login("two-long-password")
    await settled(server, [
        PostgresRole("app", password="env://TWO", createdb=True),
        PostgresDatabase("app", owner="postgres", privileges={"readers": ["connect", "create"]})])
    assert login("two-long-password") == "app"
    assert "decided when it is created" in await failed(
        server, PostgresDatabase("app", encoding="LATIN1"))
    assert "not-there" in await failed(server, PostgresDatabase("more", owner="not-there"))
    assert "depend" in await failed(server, PostgresRole(odd, absent=True))
    on(server, "systemctl stop postgresql@*")
    assert "does not answer" in await failed(server, PostgresRole("later"))
    on(server, "systemctl start postgresql")
    await settled(server, [PostgresDatabase("app", absent=True), PostgresDatabase(odd, absent=True)])
    await settled(server, [PostgresRole(name, absent=True) for name in ("app", "readers", odd)])
    leak = on(server, "grep -rlE 'long-password|SCRAM-SHA-256[$]' /var/lib/converge /run/converge"
                      " /var/log/postgresql || :")
    assert leak == "", leak


async def test_commands_run_once_and_say_what_they_printed(server):
    make = Command("make it", run="id -un; pwd; echo \"$A $T\"; date +%N >>$HOME/made",
                   creates="/var/lib/made/made", user="maker", cwd="/var/lib/made",
                   environment={"A": "a'b"}, secrets_environment={"T": "env://ONE"})
    on(server, "useradd -d /var/lib/made -m maker")
    done = await settled(server, [make])
    assert done[make.id].output == "maker\n/var/lib/made\na'b (secret)"
    again = await apply(host_of(server), [make], secrets=SECRETS.__getitem__)
    assert not again.changed and on(server, "wc -l </var/lib/made/made") == "1"
    gate = Command("gate", run="touch /root/gate", unless="test -e /root/gate",
                   onlyif="test -e /root/asked")
    assert (await settled(server, [gate]))[gate.id].status == "unchanged"
    on(server, "touch /root/asked")
    assert (await settled(server, [gate]))[gate.id].status == "changed"
    assert "status 7" in await failed(server, Command("exit 7", creates="/nowhere"))
    assert "ended after" in await failed(server, Command("sleep 60", creates="/x", timeout=0.5))
    report = await apply(host_of(server), [Command("true", creates="/nowhere")])
    assert not report.ok, "what says that it is done still says that it is not"


async def test_a_command_that_follows_a_change_is_not_forgotten(server):
    def wanted(text: str, command: str):
        seed = File("/root/seed", content=text)
        return [seed, Command("follow", run=command, on_change=[seed])]

    await settled(server, wanted("1", "echo once >>/root/followed"))
    await settled(server, wanted("1", "echo once >>/root/followed"))
    assert on(server, "cat /root/followed") == "once"
    report = await apply(host_of(server), wanted("2", "exit 9"))
    assert not report.ok
    late = await plan(host_of(server), wanted("2", "echo late >>/root/followed"))
    assert [c.resource for c in late.changes] == ["command:follow"], late.render()
    await settled(server, wanted("2", "echo late >>/root/followed"))
    assert on(server, "cat /root/followed") == "once\nlate"
