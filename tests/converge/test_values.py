"""Resources, order, plans and records as values: no host anywhere."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from converge import AnyResource, File, Host, Package, Plan, Service, User
from converge.changes import Change
from converge.errors import InvalidResources
from converge.framing import NONCE_LENGTH, Reader
from converge.graph import arrange
from converge.journal import redactor
from converge.planner import compare, steps
from converge.resource import Around, Context, State
from converge.resources import BY_KEY
from converge.resources.file import FileState
from converge.resources.keys import identity, merge
from converge.resources.package import PackageState
from converge.resources.service import ServiceState
from converge.resources.user import UserState
from tests.converge.system_examples import SYSTEM

ITEMS = TypeAdapter(list[AnyResource])
BLOB = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
KEY = f"ssh-ed25519 {BLOB} me@example"


# -- what people write ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"pakage": "nginx"}, "perhaps you meant package for pakage"),
        ({"package": "nginx", "user": "x"}, "two resources in one item"),
        ("nginx", "a resource is a mapping"),
        ({"file": "/etc/x", "mode": 420}, 'quoted octal string such as "0644", not the number 420'),
        ({"file": "/etc/x", "mode": "0888"}, "quoted octal"),
        ({"file": "/etc/x", "contents": "y"}, "contents"),
        ({"file": "/etc/x", "content": "y", "secret": "env://X"}, "exclude each other"),
        ({"file": "/etc/x", "absent": True, "mode": "0644"}, "has no mode"),
        ({"file": "/etc/x"}, "say what the file shall be"),
        ({"file": "etc/x", "content": ""}, "not absolute"),
        ({"file": "/etc/../x", "content": ""}, "write '/x'"),
        ({"file": "//etc", "content": ""}, "write '/etc'"),
        ({"file": "/etc/\udcff", "content": ""}, "not valid UTF-8"),
        ({"file": "/etc/a\0b", "content": ""}, "NUL"),
        ({"file": "/" + "a" * 256, "content": ""}, "too long"),
        ({"file": "/x", "content": "x" * (1024 * 1024 + 1)}, "limit of 1048576"),
        ({"package": "-oops"}, "no package name"),
        ({"package": "nginx-"}, "no package name"),
        ({"package": "Nginx"}, "no package name"),
        ({"package": "a; id"}, "no package name"),
        ({"package": "nginx", "version": "-1"}, "no package version"),
        ({"package": "nginx", "version": "1", "absent": True}, "has no version"),
        ({"user": "-x"}, "no user or group name"),
        ({"user": "x" * 33}, "at most 32"),
        ({"user": "root", "absent": True}, "root is not removed"),
        ({"user": "x", "groups": ["a,b"]}, "no user or group name"),
        ({"user": "x", "shell": "/bin/a:b"}, "passwd file"),
        ({"user": "x", "authorized_keys": ["-----BEGIN OPENSSH PRIVATE KEY-----"]}, "private key"),
        ({"user": "x", "authorized_keys": [KEY[:40]]}, "cut off or damaged"),
        ({"user": "x", "authorized_keys": [KEY + "\nssh-rsa AAAA"]}, "one line"),
        ({"service": "-x"}, "no unit name"),
        ({"service": "a b"}, "no unit name"),
        ({"service": "x", "on_change": ["nginx"]}, "no reference"),
    ],
)
def test_bad_items_are_refused_with_what_would_be_right(item, message):
    with pytest.raises(ValidationError) as caught:
        ITEMS.validate_python([item])
    assert message in str(caught.value)


def test_an_item_is_the_same_from_yaml_and_from_python():
    site = File("/etc/site", content="x", mode="644")
    written = [
        {"package": "nginx", "version": "1.2*"},
        {"user": "deploy", "groups": ["adm"], "authorized_keys": [KEY]},
        {"file": "/etc/site", "content": "x", "mode": "0644"},
        {"service": "nginx.service", "on_change": [{"file": "/etc/site"}], "running": True},
    ]
    wanted = [
        Package("nginx", version="1.2*"),
        User("deploy", groups=["adm"], authorized_keys=[KEY]),
        site,
        Service("nginx", on_change=[site], running=True),
    ]
    assert ITEMS.validate_python(written) == wanted
    assert ITEMS.validate_json(ITEMS.dump_json(wanted)) == wanted
    assert json.dumps(ITEMS.json_schema()).count('"on_change"') >= 1


@pytest.mark.parametrize("kind", [*BY_KEY.values(), Host])
def test_what_type_checkers_are_told_is_what_the_fields_are(kind):
    tree = ast.parse(inspect.cleandoc(inspect.getsource(sys.modules[kind.__module__])))
    (body,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == kind.__name__)
    told = next(
        inner
        for node in body.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in node.body
    )
    assert isinstance(told, ast.FunctionDef)
    names = [a.arg for a in (*told.args.posonlyargs[1:], *told.args.kwonlyargs)]
    assert sorted(names) == sorted(kind.model_fields)
    defaults = {
        a.arg: ast.literal_eval(d)
        for a, d in zip(told.args.kwonlyargs, told.args.kw_defaults, strict=True)
        if d is not None
    }
    for name, default in defaults.items():
        assert kind.model_fields[name].default == default, name


def test_importing_the_types_loads_no_ssh_and_no_engine():
    code = (
        "import sys, converge; print([m for m in ('asyncssh', 'asyncio', 'converge.engine',"
        " 'subprocess', 'socket') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- order ------------------------------------------------------------------------------------


def ids(*resources):
    return [r.id for r in arrange(resources).resources]


def test_declared_order_moved_only_where_an_edge_demands_it():
    conf = File("/home/app/x/conf", content="", owner="app", group="web")
    got = ids(
        Service("nginx", running=True, on_change=[conf]),
        File("/etc/motd", content="x"),
        conf,
        User("app", groups=["web"]),
        Package("nginx"),
    )
    assert got == [
        "file:/etc/motd",
        "user:app",
        "file:/home/app/x/conf",
        "package:nginx",
        "service:nginx",
    ]


@pytest.mark.parametrize(
    ("resources", "names"),
    [
        ([File("/x", content="a"), File("/x", content="b")], ["file:/x", "twice", "content"]),
        ([Package("a1"), Package("a1", absent=True)], ["package:a1", "absent False and True"]),
        ([File("/x", content="a", owner="old"), User("old", absent=True)], ["file:/x", "user:old"]),
        ([File("/x", content="a"), File("/x/y", content="a")], ["file:/x", "file:/x/y"]),
        ([Package("nginx", purge=True), Service("nginx", running=True)], ["package:", "service:"]),
        ([User("a", uid=5), User("b", uid=5)], ["user:a", "user:b", "uid 5"]),
        (
            [User("a", authorized_keys=[]), File("/home/a/.ssh/authorized_keys", content="")],
            ["user:a", "authorized_keys"],
        ),
        (
            [Service("a", on_change=["file:/etc/mtd"]), File("/etc/motd", content="")],
            ["service:a", "file:/etc/mtd", "perhaps file:/etc/motd"],
        ),
        (
            [File("/a", content="", needs=["file:/b"]), File("/b", content="", needs=["file:/a"])],
            ["file:/a needs file:/b needs file:/a"],
        ),
        ([File("/a", content="", needs=["file:/a"])], ["refers to itself"]),
    ],
)
def test_contradictions_and_cycles_are_refused_naming_both(resources, names):
    with pytest.raises(InvalidResources) as caught:
        arrange(resources)
    assert all(name in str(caught.value) for name in names), caught.value


def test_the_same_resource_twice_is_one():
    assert ids(Package("a1"), Package("a1")) == ["package:a1"]


# -- diff -------------------------------------------------------------------------------------

NOTHING = Around()
AFTER = Around(packages=("package:nginx",))


def action(resource, state, around=NOTHING):
    change = resource.diff(state, around)
    return None if change is None else change.action


def test_diffs_of_packages():
    absent = PackageState("absent")
    there = PackageState("present", version="1.2-3")
    assert action(Package("a1"), absent) == "create"
    assert action(Package("a1"), there) is None
    assert action(Package("a1", version="1.2*"), there) is None
    assert action(Package("a1", version="1.3*"), there) == "update"
    assert action(Package("a1"), PackageState("present", version="1", broken="iF")) == "update"
    assert action(Package("a1", absent=True), there) == "remove"
    assert action(Package("a1", absent=True), PackageState("absent", leftovers=True)) is None
    assert action(Package("a1", purge=True), PackageState("absent", leftovers=True)) == "remove"
    assert action(Package("a1"), PackageState("unknown", "no dpkg")) == "blocked"


def test_what_a_package_may_bring_is_known_after_apply():
    absent = ServiceState("absent")
    assert action(Service("nginx", running=True), absent) == "blocked"
    assert action(Service("nginx", running=True), absent, AFTER) == "unknown"
    assert action(Service("nginx", running=False), absent) is None
    assert action(Service("nginx", running=False), absent, AFTER) == "unknown"
    assert action(File("/x", absent=True), FileState("absent")) is None
    assert action(File("/x", absent=True), FileState("absent"), AFTER) == "unknown"
    assert action(File("/x", mode="0600"), FileState("absent")) == "blocked"
    assert action(File("/x", mode="0600"), FileState("absent"), AFTER) == "unknown"
    assert action(User("x", absent=True), UserState("absent"), AFTER) == "unknown"


def test_diffs_of_services():
    running = ServiceState("present", active="active", enabled="enabled", load="loaded")
    crashing = ServiceState("present", active="activating", enabled="enabled", load="loaded")
    assert action(Service("a", running=True, enabled=True), running) is None
    assert action(Service("a", running=True), crashing) == "update"
    assert action(Service("a", running=False), running) == "update"
    assert action(Service("a", enabled=False), running) == "update"
    assert action(Service("a"), running) is None
    static = ServiceState("present", active="active", enabled="static", load="loaded")
    assert action(Service("a", enabled=True), static) == "blocked"
    masked = ServiceState("present", active="inactive", enabled="masked", load="masked")
    assert action(Service("a", running=True), masked) == "blocked"
    late = ServiceState("present", active="active", enabled="enabled", pending="r0")
    change = Service("a", running=True).diff(late, NOTHING)
    assert change is not None and "r0" in change.wanted


def test_a_sensitive_file_shows_neither_old_nor_new_nor_a_hash():
    state = FileState("present", mode="0600", same=False, digest="d" * 64, content=b"old-secret")
    for file in (File("/x", secret="env://X"), File("/x", content="new-secret", sensitive=True)):
        change = file.diff(state, NOTHING)
        assert change is not None
        text = change.model_dump_json()
        assert "secret" not in text and "dddd" not in text and "sensitive" in text
    assert "new-secret" not in repr(File("/x", content="new-secret"))


def test_a_plan_knows_when_it_was_tampered_with():
    change = Change(resource="file:/x", action="remove")
    made = Plan(host="h", resources=(File("/x", absent=True),), changes=(change,))
    text = made.model_dump_json()
    assert Plan.model_validate_json(text) == made
    with pytest.raises(ValidationError, match="altered"):
        Plan.model_validate_json(text.replace("remove", "create"))


def test_steering_characters_do_not_reach_the_terminal():
    file = File("/x\x1b[2J", content="\x1b[31mred")
    change = file.diff(FileState("absent"), NOTHING)
    assert change is not None
    shown = Plan(host="h", resources=(file,), changes=(change,)).render()
    assert "\x1b" not in shown and "\\u001b[31mred" in shown


def test_packages_side_by_side_are_one_transaction_unless_that_ties_them_together():
    free = [
        Package("a1"),
        File("/etc/same", content="x"),
        Package("b1"),
        Package("c1", absent=True),
    ]
    spec = arrange(free)
    found: list[State] = [
        PackageState("absent"),
        FileState("present", same=True),
        PackageState("absent"),
        PackageState("present", version="1"),
    ]
    assert [s.members for s in steps(spec, compare(spec, found))] == [(0, 2, 3)]
    tied = arrange([Package("a1"), Package("b1", needs=["package:a1"])])
    absent = [PackageState("absent"), PackageState("absent")]
    assert [s.members for s in steps(tied, compare(tied, absent))] == [(0,), (1,)]


# -- keys -------------------------------------------------------------------------------------


def test_merging_keys():
    other = b"# note\nssh-rsa AAAAB3NzaC1yc2E= other\n"
    assert merge(other, [KEY], exclusive=False) == other + KEY.encode() + b"\n"
    assert merge(other, [], exclusive=False) == other
    assert merge(other, [KEY], exclusive=True) == KEY.encode() + b"\n"
    assert merge(f"{KEY} renamed\n".encode(), [KEY], exclusive=True) == f"{KEY} renamed\n".encode()
    limited = f'from="10.0.0.1" {KEY}\n'.encode()
    assert merge(limited, [KEY], exclusive=False) == KEY.encode() + b"\n"
    assert identity(f'command="echo ssh-rsa x" {KEY}') == (
        'command="echo ssh-rsa x"',
        "ssh-ed25519",
        BLOB,
    )


@given(current=st.binary(max_size=200))
def test_merging_twice_changes_nothing_more(current):
    for exclusive in (False, True):
        once = merge(current, [KEY], exclusive=exclusive)
        assert merge(once, [KEY], exclusive=exclusive) == once


# -- what comes back --------------------------------------------------------------------------

NONCE = "a" * NONCE_LENGTH


@given(
    bodies=st.lists(st.binary(max_size=50), max_size=6),
    noise=st.binary(max_size=20),
    size=st.integers(1, 40),
)
def test_records_survive_any_bodies_noise_and_cuts_of_the_stream(bodies, noise, size):
    stream = (
        noise
        + b"".join(b"\n%s body %d\n%s" % (NONCE.encode(), n, body) for n, body in enumerate(bodies))
        + b"\n%s .\n" % NONCE.encode()
    )
    reader = Reader(NONCE)
    got = [r for at in range(0, len(stream), size) for r in reader.feed(stream[at : at + size])]
    assert [r.body for r in got] == bodies
    assert reader.open == (".",)


@given(output=st.binary(max_size=300) | st.text().map(lambda t: t.encode(errors="replace")))
def test_garbage_is_never_taken_for_an_answer(output):
    examples = {
        "package": Package("nginx"),
        "user": User("x", authorized_keys=[KEY]),
        "file": File("/x", content="x"),
        "service": Service("nginx", running=True),
        **SYSTEM,
    }
    for prefix in (b"", b"dpkg\n", b"systemd\n", b"done\n"):
        for kind in (Package, User, File, Service):
            (state,) = kind.parse(prefix + output, [examples[kind.key]], Context())
            assert state.status in ("present", "absent", "unknown")
            examples[kind.key].diff(state, NOTHING)
    for kind in (Package, User, File, Service):
        (state,) = kind.parse(b"", [examples[kind.key]], Context())
        assert state.status == "unknown" and state.why


def test_redactor_takes_out_the_longest_first():
    redact = redactor({"a": b"hunter2-long", "b": b"hunter2", "c": b"x"})
    assert redact("hunter2-long hunter2 x") == "(secret) (secret) x"
