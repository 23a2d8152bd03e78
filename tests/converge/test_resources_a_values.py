"""Batch of types that keep packages, accounts and things on disk: on values alone."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from converge import (
    AnyResource,
    AptRepository,
    Archive,
    AuthorizedKeys,
    Block,
    Directory,
    File,
    Git,
    Group,
    Line,
    Package,
    Resource,
    Symlink,
    User,
    folder,
)
from converge.changes import Change
from converge.errors import InvalidResources, MaterialMissing
from converge.graph import arrange
from converge.material import compose
from converge.planner import steps
from converge.resource import Around, Context
from converge.resources import BY_KEY
from converge.resources.authorized_keys import KeysState
from converge.resources.directory import DirectoryState
from converge.resources.edit_sh import LOOK
from converge.resources.file import FileState
from converge.resources.git import GitState
from converge.resources.keys import without
from converge.resources.package import PackageState
from converge.shell import complete, words

ITEMS = TypeAdapter(list[AnyResource])
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@example"
OTHER = KEY.replace("MEBQY", "MEBQZ").replace("me@", "other@")
SUM = "a" * 64
ARMORED = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n"
WEB = "https://example.org"
EXAMPLES: list[Resource] = [
    AptRepository("ours", uris=[WEB], suites=["bookworm"], components=["main"], key_text=ARMORED),
    Group("app", gid=4000),
    AuthorizedKeys("deploy", keys=[KEY], removed=[OTHER]),
    Directory("/srv/app", owner="app", mode="0750", recursive=True, purge=True),
    Symlink("/srv/app/current", target="releases/7"),
    Archive("/opt/node", url=f"{WEB}/node.tar.gz", sha256=SUM, strip=1),
    Git("/srv/site", repo=f"{WEB}/site.git", ref="main", owner="app"),
    Line("a = 1", file="/etc/app.conf", match="^a ="),
    Block("hosts", file="/etc/hosts", content="10.0.0.5 db\n"),
    Package("agent", deb=f"{WEB}/agent.deb", sha256=SUM, hold=True),
    File("/etc/app.conf.d/x", template="x.j2", variables={"port": 80}, check="app -t %s"),
]


@pytest.mark.parametrize(("item", "message"), [
    ({"package": "x1", "deb": "https://example.org/x.deb"}, "go together"),
    ({"package": "x1", "deb": "ftp://example.org/x.deb", "sha256": SUM}, "no URL"),
    ({"package": "x1", "deb": "https://me:pw@example.org/x.deb", "sha256": SUM}, "password"),
    ({"package": "x1", "deb": "https://e.org/x", "sha256": "abc"}, "64 hexadecimal"),
    ({"package": "x1", "absent": True, "hold": True}, "has no hold"),
    ({"file": "/x", "source": "../secret"}, "inside the spec's folder"),
    ({"file": "/x", "template": "/etc/passwd"}, "inside the spec's folder"),
    ({"file": "/x", "source": "a", "template": "b"}, "source and template exclude each other"),
    ({"file": "/x", "source": "a", "variables": {"a": 1}}, "variables goes with template"),
    ({"file": "/x", "mode": "0644", "check": "true"}, "check goes with"),
    ({"directory": "/etc", "purge": True}, "never removed, purged"),
    ({"directory": "/var/lib", "absent": True, "recursive": True}, "never removed"),
    ({"directory": "/srv/a", "recursive": True}, "recursive goes with"),
    ({"directory": "/srv/a", "file_mode": "0644"}, "file_mode goes with recursive"),
    ({"directory": "/srv/a", "mode": 755}, "quoted octal"),
    ({"symlink": "/srv/a"}, "where the link leads"),
    ({"symlink": "/srv/a", "target": "a\0b"}, "NUL"),
    ({"line": "a\nb", "file": "/x"}, "more than one line"),
    ({"line": " ", "file": "/x"}, "empty line"),
    ({"line": "a", "file": "/x", "match": ""}, "empty pattern"),
    ({"line": "a", "file": "/x", "after": "b", "before": "c"}, "exclude each other"),
    ({"block": "a", "file": "/x"}, "say what the block holds"),
    ({"block": "a", "file": "/x", "content": "# END a (converge)\n"}, "marker line"),
    ({"block": "a", "file": "/x", "content": "", "marker": "# here"}, "{mark} and {name}"),
    ({"archive": "/opt/x", "url": "https://example.org/x.tar"}, "needs sha256"),
    ({"archive": "/opt/x"}, "url or source"),
    ({"archive": "/opt", "absent": True}, "never removed"),
    ({"git": "/srv/x", "repo": "--upload-pack=id"}, "is no repository"),
    ({"git": "/srv/x", "repo": "ext::sh -c id"}, "is no repository"),
    ({"git": "/srv/x", "repo": "https://me:pw@example.org/x"}, "password"),
    ({"git": "/srv/x", "repo": "/srv/r", "ref": "-x"}, "no branch"),
    ({"group": "root", "absent": True}, "not removed"),
    ({"group": "a,b"}, "no user or group name"),
    ({"authorized_keys": "x"}, "which keys"),
    ({"authorized_keys": "x", "keys": [KEY], "removed": [KEY]}, "in keys and in removed"),
    ({"apt_repository": "a/b", "absent": True}, "cannot name a file"),
    ({"apt_repository": "a", "uris": [WEB], "suites": ["x"], "components": ["main"]}, "its key"),
    ({"apt_repository": "a", "uris": [WEB], "suites": ["x"], "trusted": True}, "components"),
    ({"apt_repository": "a", "uris": [f"{WEB}\nX: y"], "suites": ["./"], "trusted": True}, "line"),
    ({"apt_repository": "a", "uris": [WEB], "suites": ["./"], "key_text": "x"}, "no armored"),
    ({"apt_repository": "a", "uris": [WEB], "suites": ["./"], "trusted": True,
      "options": {"URIs": "x"}}, "no further field"),
])  # fmt: skip
def test_bad_items_are_refused_with_what_would_be_right(item, message):
    with pytest.raises(ValidationError) as caught:
        ITEMS.validate_python([item])
    assert message in str(caught.value)


def test_each_type_is_the_same_from_json_and_from_python():
    assert ITEMS.validate_json(ITEMS.dump_json(EXAMPLES)) == EXAMPLES
    ids = [resource.id for resource in EXAMPLES]
    assert "line:/etc/app.conf: a = 1" in ids and "block:/etc/hosts: hosts" in ids


def order(*resources):
    return [r.id for r in arrange(resources).resources]


def test_what_comes_before_what():
    repository, app = EXAMPLES[0], User("app", groups=["web"])
    assert order(Package("ours"), repository) == [repository.id, "package:ours"]
    assert order(app, Group("web", gid=7)) == ["group:web", "user:app"]
    inner = File("/srv/app/x", content="", owner="app")
    assert order(inner, Directory("/srv/app", owner="app"), app) == [
        "user:app", "directory:/srv/app", "file:/srv/app/x"]  # fmt: skip
    base = File("/etc/x", mode="0600")
    assert order(Line("a", file="/etc/x"), base) == ["file:/etc/x", "line:/etc/x: a"]
    assert order(AuthorizedKeys("app", keys=[KEY]), app)[0] == "user:app"
    assert order(Symlink("/srv/a", target="/srv/b"), File("/srv/b", content=""))[0] == "file:/srv/b"


def test_a_wish_for_an_order_skips_nothing_and_closes_no_cycle():
    repository = EXAMPLES[0].model_copy(update={"needs": ("package:ca-certificates",)})
    spec = arrange([repository, Package("agent"), Package("ca-certificates")])
    assert [r.name for r in spec.resources] == ["ca-certificates", "ours", "agent"]
    assert spec.needs == ((), (0,), ()), "the package is skipped with a repository it never named"


@pytest.mark.parametrize("pair", [
    [File("/etc/x", content=""), Line("a", file="/etc/x")],
    [File("/etc/x", absent=True), Block("a", file="/etc/x", content="")],
    [File("/srv/a", content=""), Directory("/srv/a")],
    [Symlink("/srv/a", target="b"), Directory("/srv/a")],
    [Directory("/srv/a", absent=True, recursive=True), File("/srv/a/b/c", content="")],
    [Directory("/srv/a"), File("/srv", content="")],
    [User("a", authorized_keys=[KEY]), AuthorizedKeys("a", keys=[KEY])],
    [User("a", absent=True), AuthorizedKeys("a", keys=[KEY])],
    [Group("a", gid=7), Group("b", gid=7)],
    [Group("a", absent=True), User("b", groups=["a"])],
    [Group("a", absent=True), File("/x", content="", group="a")],
    [Archive("/opt/a", absent=True), File("/opt/a/b", content="")],
    [Git("/opt/a", repo="/r"), Archive("/opt/a", source="x.tar")],
    [EXAMPLES[0], File("/etc/apt/keyrings/ours.asc", content="")],
])  # fmt: skip
def test_contradictions_are_refused_naming_both(pair):
    with pytest.raises(InvalidResources) as caught:
        arrange(pair)
    assert all(resource.id in str(caught.value) for resource in pair)


# -- from the controller ----------------------------------------------------------------------


def composed(resource, files, variables=None, secrets=None):
    return compose(arrange([resource]), files.__getitem__, variables, secrets or {})[1]


def test_a_template_knows_its_own_variables_before_the_callers():
    file = File("/x", template="t", variables={"port": 80}, secret_variables={"pw": "env://PW"})
    files = {"t": b"{% if on %}\n{{ port }} {{ host }} {{ pw }}\n{% endif %}\n"}
    given = {"port": 1, "host": "a", "on": True, "pw": "not this"}
    body = composed(file, files, given, {"env://PW": b"hunter2\n"})
    assert body == {"file:/x": b"80 a hunter2\n"}
    assert file.hidden and file.secrets() == ("env://PW",)


@pytest.mark.parametrize(("text", "message"), [
    ("a\n{{ nope }}", "template t, line 2: 'nope' is undefined"),
    ("{% if %}", "template t, line 1"),
    ("{{ ().__class__.__mro__ }}", "not allowed here"),
    ("{{ items.append(1) }}", "not allowed here"),
    ("{% include 'gone' %}", "file:/x"),
    ("{{ nested[pw] }}", "(secret)"),
])  # fmt: skip
def test_a_template_that_fails_says_where_and_keeps_its_secrets(text, message):
    file = File("/x", template="t", secret_variables={"pw": "env://PW"})
    with pytest.raises(MaterialMissing) as caught:
        composed(file, {"t": text.encode()}, {"items": [], "nested": {}}, {"env://PW": b"hunter2"})
    assert message in str(caught.value) and "hunter2" not in str(caught.value)


def test_other_contents_are_another_run_but_a_secret_stands_in_no_digest(tmp_path):
    def digest(resource, text):
        (tmp_path / "a").write_text(text)
        secrets = {"env://PW": text.encode()}
        return compose(arrange([resource]), folder(tmp_path), None, secrets)[0].digest

    plain = File("/x", source="a")
    assert digest(plain, "one") != digest(plain, "two")
    secret = File("/x", template="a", secret_variables={"pw": "env://PW"})
    assert digest(secret, "one") == digest(secret, "two")


def test_a_folder_reads_nothing_outside_of_itself(tmp_path):
    inner = tmp_path / "spec"
    inner.mkdir()
    (tmp_path / "secret").write_text("x")
    (inner / "link").symlink_to(tmp_path / "secret")
    for name in ("../secret", "link", str(tmp_path / "secret")):
        with pytest.raises(ValueError, match="outside"):
            folder(inner)(name)
    with pytest.raises(MaterialMissing, match=r"file:/x.*gone.*No such file"):
        compose(arrange([File("/x", source="gone")]), folder(inner), None, {})
    with pytest.raises(MaterialMissing, match="load="):
        compose(arrange([File("/x", source="gone")]), None, None, {})


def test_a_key_of_the_controller_is_armored_and_a_private_one_refused():
    one = AptRepository("a", uris=[WEB], suites=["./"], key_file="k")
    armored = composed(one, {"k": b"\x99\x01binary"})["apt_repository:a"].decode()
    lines = armored.split("\n")
    assert base64.b64decode("".join(lines[2:-2])) == b"\x99\x01binary"
    assert composed(one, {"k": ARMORED.encode()})["apt_repository:a"] == ARMORED.encode()
    with pytest.raises(MaterialMissing, match="private"):
        composed(one, {"k": b"-----BEGIN PGP PRIVATE KEY BLOCK-----"})


def test_an_archive_of_the_controller_that_is_another_one_is_refused():
    with pytest.raises(MaterialMissing, match="SHA-256"):
        composed(Archive("/opt/a", source="a.tar", sha256=SUM), {"a.tar": b"x"})


# -- diff -------------------------------------------------------------------------------------

NOTHING = Around()


def action(resource, state, around=NOTHING):
    change = resource.diff(state, around)
    return None if change is None else change.action


def test_diffs_of_packages_that_are_held_or_came_by_url():
    there = PackageState("present", version="1.2")
    held = replace(there, held=True)
    assert action(Package("a1", hold=True), there) == "update"
    assert action(Package("a1", hold=True), held) is None
    assert action(Package("a1", hold=False), held) == "update"
    assert action(Package("a1"), held) is None
    deb = Package("a1", deb=f"{WEB}/a.deb", sha256=SUM)
    assert action(deb, there) == "update"
    assert action(deb, replace(there, deb=(SUM, "1.2"))) is None
    assert action(deb, replace(there, deb=(SUM, "1.1"))) == "update", "somebody put in another"
    assert action(deb, replace(there, deb=("b" * 64, "1.2"))) == "update"


def test_diffs_of_directories():
    there = DirectoryState(
        "present",
        mode="0755",
        owner="root",
        group="root",
        empty=False,
        accounts=frozenset({"user:root"}),
    )
    assert action(Directory("/srv/a"), there) is None
    assert action(Directory("/srv/a", mode="0700"), there) == "update"
    assert action(Directory("/srv/a", owner="nobody-here"), there) == "blocked"
    assert action(Directory("/srv/a", absent=True), there) == "blocked"
    assert action(Directory("/srv/a", absent=True), replace(there, empty=True)) == "remove"
    assert action(Directory("/srv/a", absent=True, recursive=True), there) == "remove"
    assert action(Directory("/srv/a"), replace(there, kind="symbolic link")) == "blocked"
    purged = Directory("/srv/a", purge=True).diff(replace(there, strange=("x\x1b",)), NOTHING)
    assert purged is not None and purged.found == "purged x\\u001b"


def test_diffs_of_checkouts():
    known = frozenset({"user:app"})
    at = GitState(
        "present", checkout=True, commit="1" * 40, wanted="1" * 40, repo="/r", accounts=known
    )
    site = Git("/srv/a", repo="/r", owner="app")
    assert action(site, at) is None
    assert action(site, replace(at, dirty=True)) is None
    assert action(site, replace(at, commit="2" * 40)) == "update"
    assert action(site, replace(at, commit="2" * 40, dirty=True)) == "blocked"
    assert action(Git("/srv/a", repo="/r", force=True), replace(at, dirty=True)) == "update"
    assert action(site, replace(at, wanted="", why="no route")) == "unknown"
    assert action(site, replace(at, tool=False)) == "blocked"
    assert action(site, replace(at, tool=False), Around(packages=("package:git",))) == "unknown"
    assert action(site, replace(at, checkout=False)) == "blocked"
    leaky = site.diff(replace(at, repo="https://me:pw@e.org/x"), NOTHING)
    assert leaky is not None and "pw" not in leaky.model_dump_json()


def test_diffs_of_keys_and_files_from_the_controller():
    keys = AuthorizedKeys("a", keys=[KEY], removed=[OTHER])
    assert action(keys, KeysState("present", found=f"{KEY}\n".encode(), there=True)) is None
    both = KeysState("present", found=f"{KEY}\n{OTHER}\n".encode(), there=True)
    assert action(keys, both) == "update" and keys.after(both.found) == f"{KEY}\n".encode()
    assert action(keys, KeysState("absent")) == "blocked"
    assert action(keys, KeysState("absent"), Around(provided=frozenset({"user:a"}))) == "create"
    made = File("/x", source="a").diff(FileState("absent", wanted=b"\0\1"), NOTHING)
    digest = hashlib.sha256(b"\0\1").hexdigest()[:12]
    assert made is not None and f"content sha256:{digest}" in made.wanted


@given(current=st.binary(max_size=300))
def test_taking_keys_out_twice_takes_no_more_out(current):
    once = without(current, [KEY])
    assert without(once, [KEY]) == once
    mixed = current + b"\n" + KEY.encode() + b"\n"
    assert KEY.encode() not in without(mixed, [KEY])


@given(output=st.binary(max_size=200) | st.lists(st.sampled_from([
    "stat 0 81a4 root root", "stat 0 41ed a b", "absent 0", "same 0", "differs 0", "was 0 !",
    "new 0 YQ==", "end 0", "content 0 YQ==", "target 0 YQ==", "account user:app", "done",
    "checkout 0", "commit 0", "wanted 0 zz", "dpkg", "deb\ta\tb", "group app:x", "off1 0 !!",
]), max_size=6).map(lambda lines: "\n".join(lines).encode()))  # fmt: skip
@settings(max_examples=200)
def test_garbage_is_never_taken_for_an_answer(output):
    context = Context(bodies={r.id: b"x" for r in EXAMPLES})
    for resource in EXAMPLES:
        kind = BY_KEY[resource.key]
        (state,) = kind.parse(output, [resource], context)
        assert state.status in ("present", "absent", "unknown")
        resource.diff(state, NOTHING)
        (nothing,) = kind.parse(b"", [resource], context)
        assert nothing.status == "unknown" and nothing.why


def test_every_script_of_every_type_is_one_that_the_shells_can_read():
    context = Context(bodies={r.id: b"x" for r in EXAMPLES})
    for resource in EXAMPLES:
        kind = BY_KEY[resource.key]
        (state,) = kind.parse(b"", [resource], context)
        from converge.resource import Item

        emitted = kind.emit([Item(0, resource, state)], context)
        for text in (*kind.libraries(), emitted, kind.probe([resource], context)):
            for shell in (["dash", "-n"], ["bash", "--posix", "-n"], ["busybox", "sh", "-n"]):
                done = subprocess.run(
                    shell, input=text, text=True, capture_output=True, check=False
                )
                assert done.returncode == 0, (kind.key, shell, done.stderr)


def test_a_change_that_is_blocked_has_no_step():
    spec = arrange([Directory("/srv/a")])
    assert steps(spec, {0: Change(resource="directory:/srv/a", action="blocked")}) == []


# -- lines and blocks, by the shell that changes them ------------------------------------------

TEXT = st.text(st.sampled_from("ab#=x \\$'\"`*[.é\t"), max_size=6)
LINES = st.lists(TEXT, max_size=6)


def edited(call: list[str], content: bytes, path: Path) -> bytes:
    path.write_bytes(content)
    function, *rest = call
    body = f"{LOOK}\n{function} {words([str(path), *rest])} || echo rc=$?"
    done = subprocess.run(["dash", "-s"], input=complete(body), capture_output=True, check=True)
    return done.stdout


@given(lines=LINES, line=TEXT.filter(str.strip), ended=st.booleans(), absent=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_line_of_any_text_is_there_once_or_gone_and_the_rest_stays(
    tmp_path_factory, lines, line, ended, absent
):
    path = tmp_path_factory.getbasetemp() / "line"
    content = "\n".join(lines).encode() + (b"\n" if ended else b"")
    call = list(Line(line, file="/x", absent=absent).call())
    once = edited(call, content, path)
    assert edited(call, once, path) == once
    before = content.decode().split("\n")
    before = before[:-1] if before[-1] == "" else before
    after = once.decode().split("\n")
    after = after[:-1] if after[-1] == "" else after
    if absent:
        assert after == [other for other in before if other != line]
    else:
        assert after == (before if line in before else [*before, line])


@given(lines=LINES, content=LINES, again=LINES, ended=st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_block_comes_changes_and_goes_and_the_rest_stays(
    tmp_path_factory, lines, content, again, ended
):
    path = tmp_path_factory.getbasetemp() / "block"
    original = "".join(f"{line}\n" for line in lines).encode()
    first = list(Block("b", file="/x", content="\n".join(content)).call())
    second = list(Block("b", file="/x", content="".join(f"{x}\n" for x in again)).call())
    gone = list(Block("b", file="/x", absent=True).call())
    start = original if ended or not lines or not lines[-1] else original[:-1]
    with_block = edited(first, start, path)
    assert with_block.startswith(original) and edited(first, with_block, path) == with_block
    changed = edited(second, with_block, path)
    inner = changed.decode().split("# BEGIN b (converge)\n")[1].split("# END b (converge)")[0]
    assert inner == "".join(f"{line}\n" for line in again)
    assert edited(gone, changed, path) == original


@pytest.mark.parametrize(("call", "content", "wanted"), [
    (Line("a = 2", file="/x", match="^a ="), "a = 0\na = 1\nb\n", "a = 0\na = 2\nb\n"),
    (Line("a = 2", file="/x", match="^a ="), "b\n", "b\na = 2\n"),
    (Line("n", file="/x", after="^a"), "a\nb\n", "a\nn\nb\n"),
    (Line("n", file="/x", after="^z"), "a\nb", "a\nb\nn\n"),
    (Line("n", file="/x", before="^b"), "a\nb\n", "a\nn\nb\n"),
    (Line("n", file="/x", before="^a"), "a\nb\n", "n\na\nb\n"),
    (Line("x", file="/x", match="^#", absent=True), "#a\nb\n#c\n", "b\n"),
    (Line("-e", file="/x", match="-v"), "-v\n", "-e\n"),
    (Line("a", file="/x", match="("), "b\n", "rc=2\n"),
    (Block("b", file="/x", content="t", before="^b"), "a\nb\n",
     "a\n# BEGIN b (converge)\nt\n# END b (converge)\nb\n"),
    (Block("b", file="/x", content="t"), "# END b (converge)\n", "rc=3\n"),
])  # fmt: skip
def test_where_lines_and_blocks_go(tmp_path, call, content, wanted):
    assert edited(list(call.call()), content.encode(), tmp_path / "f").decode() == wanted
