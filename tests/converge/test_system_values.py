"""What types that settle the system make of names, specs and answers. No host anywhere."""

from __future__ import annotations

import base64
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from converge import (
    AnyResource,
    Command,
    Cron,
    File,
    HostsEntry,
    KernelModule,
    Mount,
    Nftables,
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
    User,
)
from converge.errors import InvalidResources
from converge.graph import arrange
from converge.resource import Around, Context
from converge.resources.cron import schedule
from converge.resources.nftables import split, steady
from converge.resources.owned import Found, OwnedState
from converge.resources.postgres import ident, literal
from converge.resources.scram import build, prepared, verifier
from converge.resources.service import ServiceState
from converge.resources.storage import fstab_text, fstab_word
from converge.resources.unit_files import read, render
from converge.shell import complete
from tests.converge.system_examples import RULES, SYSTEM

ITEMS = TypeAdapter(list[AnyResource])
AFTER = Around(packages=("package:x",))


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"service": "x", "masked": True, "running": True}, "neither run nor be enabled"),
        ({"unit": "app", "content": "[Service]\n"}, "write app.service"),
        ({"unit": "app.service"}, "content or sections"),
        (
            {"unit": "app.service", "content": "ExecStart=/x"},
            "line 1: 'ExecStart=/x' stands before",
        ),
        (
            {"unit": "app.service", "content": "[Service]\nExecStart /x"},
            "line 2: 'ExecStart /x' is no",
        ),
        ({"unit": "app.service", "content": "[Unit]\nDescription=x"}, "no [Service] section"),
        ({"unit": "app.service", "sections": {"Service": {"Exec\nStart": "x"}}}, "no setting"),
        (
            {"unit": "app.service", "sections": {"Service": {"ExecStart": "x\ny"}}},
            "more than one line",
        ),
        (
            {"unit": "app.service", "drop_in": "../x", "content": "[Service]"},
            "no name for a drop-in",
        ),
        ({"timer": "x", "command": "/bin/true"}, "say when"),
        ({"timer": "x", "command": "true", "on_calendar": "daily"}, "full path"),
        ({"timer": "x", "on_calendar": "daily; rm"}, "no calendar time"),
        ({"timer": "x", "on_boot": "soon"}, "no time span"),
        ({"timer": "x", "on_calendar": "daily", "user": "root"}, "belong to a command"),
        ({"sysctl": "vm", "value": 1}, "no kernel parameter"),
        ({"sysctl": "../../etc/passwd", "value": 1}, "no kernel parameter"),
        ({"sysctl": "net/../vm/x", "value": 1}, "no kernel parameter"),
        ({"sysctl": "vm.swappiness", "value": True}, "write 1 or 0"),
        ({"sysctl": "vm.swappiness", "value": "1\n2"}, "one line"),
        ({"sysctl": "vm.swappiness"}, "say the value"),
        ({"kernel_module": "a/b"}, "no kernel module"),
        ({"kernel_module": "x", "options": "a=1\ninstall x /bin/sh"}, "one line"),
        ({"kernel_module": "x", "absent": True, "blacklisted": True}, "exclude each other"),
        ({"mount": "/srv/x"}, "a source and an fstype"),
        (
            {"mount": "/srv/x", "source": "a", "fstype": "tmpfs", "options": ["a b"]},
            "without blanks",
        ),
        (
            {"mount": "/srv/x", "source": "a", "fstype": "tmpfs", "options": ["a,b"]},
            "without blanks",
        ),
        ({"mount": "/srv/x", "source": "-a", "fstype": "tmpfs"}, "cannot stand in /etc/fstab"),
        ({"swap": "/swap", "size": "1K"}, "no size of swap"),
        ({"swap": "/swap", "size": "much"}, "no size of swap"),
        ({"hostname": "-x"}, "no host name"),
        ({"hostname": "a_b"}, "no host name"),
        ({"hosts_entry": "localhost", "names": ["x"]}, "no address"),
        ({"hosts_entry": "127.0.0.1", "names": ["x"]}, "must keep the name localhost"),
        ({"hosts_entry": "10.0.0.1", "names": ["a b"]}, "no host name"),
        ({"hosts_entry": "10.0.0.1"}, "which names"),
        ({"timezone": "../../etc/shadow"}, "no time zone"),
        ({"locale": "x;y"}, "no locale"),
        ({"locale": "C.UTF-8", "absent": True}, "cannot be removed"),
        ({"cron": "a.b", "schedule": "@daily", "command": "x"}, "no dots"),
        ({"cron": "a", "schedule": "* * * *", "command": "x"}, "has 4 fields"),
        (
            {"cron": "a", "schedule": "60 * * * *", "command": "x"},
            "minute '60' is not within 0 to 59",
        ),
        ({"cron": "a", "schedule": "* * 0 * *", "command": "x"}, "day of month '0'"),
        ({"cron": "a", "schedule": "5-1 * * * *", "command": "x"}, "runs backwards"),
        ({"cron": "a", "schedule": "5/5 * * * *", "command": "x"}, "a step needs a range"),
        ({"cron": "a", "schedule": "*/0 * * * *", "command": "x"}, "the step"),
        ({"cron": "a", "schedule": "@often", "command": "x"}, "@hourly"),
        ({"cron": "a", "schedule": "@daily", "command": "x\n* * * * * root y"}, "one line"),
        ({"sudoers": "a.b", "user": "x"}, "no dots"),
        ({"sudoers": "a"}, "say for whom"),
        ({"sudoers": "a", "user": "x", "commands": ["systemctl"]}, "full path"),
        ({"sudoers": "a", "user": "x", "commands": ["/bin/a\nroot ALL=(ALL) ALL"]}, "full path"),
        ({"sudoers": "a", "user": "x", "runas": "a b"}, "names nobody"),
        ({"nftables": "/tmp/x", "content": "x"}, "below /etc"),
        ({"nftables": "/etc/nftables.conf"}, "give the content"),
        ({"sshd": "a/b", "settings": {"Port": 22}}, "no name for a file"),
        ({"sshd": "a", "settings": {"Match": "User x"}}, "no setting of sshd"),
        ({"sshd": "a", "settings": {"Banner": "x\nPermitRootLogin yes"}}, "one line"),
        ({"sshd": "a"}, "give the settings"),
        ({"unattended_upgrades": "security", "reboot": "25:00"}, "no time to reboot"),
        ({"unattended_upgrades": "security", "mail": 'a";x'}, "no address"),
        ({"unattended_upgrades": "some"}, "'security', 'all' or 'off'"),
        ({"postgres_role": "pg_monitor"}, "PostgreSQL's own"),
        ({"postgres_role": "app", "password": "hunter2"}, "not the password"),
        ({"postgres_role": "x" * 64}, "1 to 63 bytes"),
        ({"postgres_database": "postgres", "absent": True}, "not removed"),
        ({"postgres_database": "x", "encoding": "UTF8'; --"}, "no encoding"),
        ({"command": "x"}, "else it would run each time"),
        ({"command": " ", "creates": "/x"}, "empty command"),
        ({"command": "x" * 100_001, "creates": "/x"}, "make it a file"),
        ({"command": "x", "creates": "/x", "environment": {"a-b": "c"}}, "no name of a variable"),
        (
            {
                "command": "x",
                "creates": "/x",
                "environment": {"A": "c"},
                "secrets_environment": {"A": "env://A"},
            },
            "A is in environment",
        ),
    ],
)
def test_bad_items_are_refused_with_what_would_be_right(item, message):
    with pytest.raises(ValidationError) as caught:
        ITEMS.validate_python([item])
    assert message in str(caught.value)


@pytest.mark.parametrize("resource", SYSTEM.values(), ids=SYSTEM)
def test_an_item_is_the_same_from_yaml_and_from_python(resource):
    assert ITEMS.validate_json(ITEMS.dump_json([resource])) == [resource]
    assert f"In YAML: `- {resource.key}:" in (type(resource).__doc__ or "")


@pytest.mark.parametrize("resource", SYSTEM.values(), ids=SYSTEM)
def test_a_probe_without_an_answer_is_unknown_and_says_why(resource):
    kind = type(resource)
    for output in (b"", b"live 0 now x\n"):
        (state,) = kind.parse(output, [resource], Context())
        change = resource.diff(state, Around())
        assert state.status == "unknown" and change is not None and change.why


@pytest.mark.parametrize("shell", [["dash", "-n"], ["bash", "--posix", "-n"]], ids=" ".join)
@pytest.mark.parametrize("resource", SYSTEM.values(), ids=SYSTEM)
def test_scripts_are_sound_shell(resource, shell):
    from converge.resource import Item

    kind = type(resource)
    item = Item(0, resource, OwnedState("absent"))
    body = "\n".join(
        [
            *kind.libraries(),
            f"probe() {{\n{kind.probe([resource], Context())}\n}}",
            f"emit() {{\n{kind.emit([item], Context())}\n}}",
        ]
    )
    done = subprocess.run(shell, input=complete(body), capture_output=True)
    assert done.returncode == 0 and not done.stderr, done.stderr.decode()


# -- order ------------------------------------------------------------------------------------


def ids(*resources):
    return [r.id for r in arrange(resources).resources]


def test_edges_that_the_types_derive():
    unit = Unit("app.service", content="[Service]\nExecStart=/srv/app/run\n")
    assert ids(Service("app", running=True), unit) == ["unit:app.service", "service:app"]
    drop = Unit("app.service", drop_in="limits", sections={"Service": {"LimitNOFILE": 9}})
    assert ids(Service("app", running=True), drop)[0] == "unit:app.service/limits"
    assert ids(Sysctl("net.bridge.x", value=1), KernelModule("br_netfilter"))[0][:6] == "kernel"
    assert (
        ids(File("/srv/cache/x", content=""), Mount("/srv/cache", source="t", fstype="tmpfs"))[0]
        == "mount:/srv/cache"
    )
    assert ids(Sudoers("a", user="deploy"), User("deploy"))[0] == "user:deploy"
    assert ids(PostgresDatabase("a", owner="app"), PostgresRole("app"))[0] == "postgres_role:app"
    assert ids(Command("/opt/x/run", creates="/y"), File("/opt/x/run", content=""))[0][:4] == "file"


@pytest.mark.parametrize(
    "pair",
    [
        (Timezone("Etc/UTC"), Timezone("Europe/Berlin")),
        (Sysctl("vm.swappiness", value=1), Sysctl("vm/swappiness", value=1)),
        (Sudoers("a", user="x"), File("/etc/sudoers.d/a", content="")),
        (Timer("a", command="/b", on_boot="1min"), Unit("a.service", content="[Service]\n")),
        (UnattendedUpgrades("all"), UnattendedUpgrades("off")),
        (PostgresDatabase("a", owner="app"), PostgresRole("app", absent=True)),
        (SYSTEM["hostname"], File("/etc/hostname", content="x")),
    ],
)
def test_contradictions_are_refused(pair):
    with pytest.raises(InvalidResources, match="contradict"):
        arrange(pair)


def test_what_can_cut_us_off_says_so_also_when_it_is_removed():
    for kind, path in ((Sudoers, "/etc/sudoers.d/x"), (Sshd, "/etc/ssh/sshd_config.d/x.conf")):
        stake = kind("x", absent=True).stake()
        assert stake is not None and stake.paths == (path,)
    stake = Nftables(content=RULES).stake()
    assert stake is not None and stake.paths == ("/etc/nftables.conf",)
    assert Timezone("Etc/UTC").stake() is None


# -- diff -------------------------------------------------------------------------------------


def action(resource, state, around=Around()):  # noqa: B008
    change = resource.diff(state, around)
    return None if change is None else change.action


def test_a_file_that_is_as_declared_and_one_that_is_not():
    sudo = Sudoers("x", user="ops")
    body = b"ops ALL=(ALL:ALL) ALL\n"
    good = OwnedState("present", files=(Found("file", "0440", "0:0", body),))
    assert action(sudo, good) is None
    for found in (
        Found("file", "0644", "0:0", body),
        Found("file", "0440", "5:0", body),
        Found("file", "0440", "0:0", b"x"),
    ):
        assert action(sudo, OwnedState("present", files=(found,))) == "update"
    for kind in ("link", "other", "hidden"):
        assert action(sudo, OwnedState("present", files=(Found(kind),))) == "blocked"
    assert action(sudo, OwnedState("absent", files=(Found(),))) == "create"
    assert action(sudo, OwnedState("absent", files=(Found(),), tool=False)) == "blocked"
    assert action(sudo, OwnedState("absent", files=(Found(),), tool=False), AFTER) == "unknown"
    gone = Sudoers("x", absent=True)
    assert action(gone, OwnedState("absent", files=(Found(),), tool=False)) is None
    assert action(gone, good) == "remove"
    late = OwnedState("present", files=good.files, due="r1")
    change = sudo.diff(late, Around())
    assert change is not None and "r1" in change.wanted


def test_masked_services():
    masked = ServiceState("present", active="inactive", enabled="masked", load="masked")
    loaded = ServiceState("present", active="active", enabled="enabled", load="loaded")
    assert action(Service("a", masked=True), masked) is None
    assert action(Service("a", masked=True), loaded) == "update"
    assert action(Service("a", masked=False, running=True), masked) == "update"
    assert action(Service("a", running=True), masked) == "blocked"
    assert action(Service("a", masked=True), ServiceState("absent")) == "update"


def test_a_command_runs_only_when_all_that_is_given_agrees():
    idle, due = {"held": "creates"}, {"held": "no"}
    plain, late = Command("x", creates="/x"), "r0"
    assert action(plain, OwnedState("present", live=idle)) is None
    assert action(plain, OwnedState("present", live=due)) == "create"
    follows = Command("x", on_change=["file:/x"])
    triggered = Around(triggers=("file:/x",))
    assert action(follows, OwnedState("present", live=due)) is None
    assert action(follows, OwnedState("present", live=due), triggered) == "create"
    assert action(follows, OwnedState("present", live=due, due=late)) == "create"
    both = Command("x", on_change=["file:/x"], creates="/x")
    assert action(both, OwnedState("present", live=idle), triggered) is None


def test_secrets_are_in_no_plan():
    context = Context(secrets={"env://P": b"hunter2-long"})
    role = PostgresRole("app", password="env://P")
    state = OwnedState("present", live={"there": "true", "login": "true", "password": "false"})
    change = role.diff(state, Around())
    assert change is not None and "sensitive" in change.model_dump_json()
    from converge.resource import Item

    scripts = role.probe([role], context) + role.emit([Item(0, role, state)], context)
    assert "hunter2" not in scripts and base64.b64encode(b"hunter2-long").decode() not in scripts
    command = Command("x", creates="/x", secrets_environment={"T": "env://P"})
    assert "hunter2" not in command.model_dump_json()


# -- texts ------------------------------------------------------------------------------------


def test_scram_verifiers_are_those_of_the_standard():
    # RFC 7677, chapter 3: user "user", password "pencil".
    made = build(b"pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
    assert made == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
        ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )
    assert prepared("I\u00adX".encode()) == b"IX" and prepared("\u2168".encode()) == b"IX"
    assert prepared("a\u0007\u00e9".encode()) == "a\u0007\u00e9".encode()
    assert verifier(b"x", "a") != verifier(b"x", "b")


@given(st.text(st.characters(exclude_characters="\0\n", exclude_categories=["Cs"]), min_size=1))
def test_words_of_fstab_and_sql_stay_one_word(text):
    assert fstab_text(fstab_word(text)) == text and " " not in fstab_word(text)
    assert ident(text)[1:-1].replace('""', "").count('"') == 0
    inside = literal(text).removeprefix("E")[1:-1]
    assert inside.replace("''", "").count("'") == 0
    assert not inside.replace("\\\\", "").count("\\")


@pytest.mark.parametrize(
    "text",
    ["* * * * *", "*/15 0-23/2 1,15 jan-mar sun", "@reboot", "0   2 * *  7", "0 0 1 1 mon,wed-fri"],
)
def test_schedules_that_cron_takes(text):
    assert schedule(text) == " ".join(text.split())


def test_what_cron_would_take_for_the_end_of_the_line_is_escaped():
    (wanted,) = Cron("x", schedule="@daily", command="date +%s", environment={"A": "b c"}).files()
    assert wanted.body == 'A="b c"\n@daily root date +\\%s\n'


def test_arguments_that_sudo_would_read_otherwise_are_escaped():
    text = Sudoers("x", user="a", commands=["/bin/x a=b,c", "/bin/y a\\=b"], nopasswd=True).text
    assert text == "a ALL=(ALL:ALL) NOPASSWD: /bin/x a\\=b\\,c, /bin/y a\\=b\n"


def test_unit_files_as_text_and_as_sections():
    sections = {"Service": {"ExecStart": ("/a",), "Environment": ("A=1", "B=2")}}
    assert render(sections) == "[Service]\nExecStart=/a\nEnvironment=A=1\nEnvironment=B=2\n"
    assert read("# x\n[Unit]\nA=b \\\n  c\n; d\n\n[Service]\nE = f\n") == ["Unit", "Service"]
    made = Unit("a.service", sections={"Service": {"RemainAfterExit": True, "TimeoutSec": 5}})
    assert "RemainAfterExit=yes\nTimeoutSec=5" in (made.files()[0].body or "")


def test_rulesets_are_compared_without_what_comes_and_goes():
    listed = (
        "table inet filter {\n\tset seen {\n\t\ttype ipv4_addr\n\t\tflags timeout\n"
        "\t\telements = { 10.0.0.1 timeout 1h expires 59m,\n\t\t\t     10.0.0.2 }\n\t}\n"
        "\tset fixed {\n\t\ttype ipv4_addr\n\t\telements = { 10.0.0.9 }\n\t}\n}\n"
        "table ip other {\n}\n"
    )
    tables = split(listed)
    assert split("") == {}
    assert list(tables) == ["inet filter", "ip other"]
    text = steady(tables["inet filter"])
    assert "10.0.0.1" not in text and "10.0.0.9" in text
    assert Nftables(content="table inet a {\n}\ntable b {\n}\n").tables == ("inet a", "ip b")
    assert Nftables(content=RULES).whole


def test_a_hosts_line_and_a_swap_line():
    assert HostsEntry("fd00:0::5", names=["a"]).line == "fd00::5\ta"
    assert Swap("/a b", size="8M", priority=5).line == "/a\\040b none swap sw,pri=5 0 0"
    bound = Mount("/b", source="/a", fstype="none", options=["bind", "ro"])
    assert bound.line == "/a /b none bind,ro 0 0"
