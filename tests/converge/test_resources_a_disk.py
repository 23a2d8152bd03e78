"""Directories, links, lines, blocks, archives and checkouts, on this machine's own disk.

With the userland of Debian, and what busybox has with nothing but busybox.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import zipfile

import pytest

from converge import (
    Archive,
    Block,
    Directory,
    File,
    Git,
    Line,
    Symlink,
    apply,
    folder,
    plan,
)
from converge.errors import RunMismatch

BUSYBOX = shutil.which("busybox")
NASTY = ["$(touch pwned)", "a'b", 'a"b', "a\nb", " ", "-rf", "*", "[x]", "a\\b", "é", "`id`"]


@pytest.fixture(params=["debian", "busybox"])
def userland(request, tmp_path, monkeypatch):
    if request.param == "busybox":
        if BUSYBOX is None:
            pytest.skip("busybox is not installed")
        tools = tmp_path / "busybox"
        tools.mkdir()
        names = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True)
        for name in names.stdout.split():
            (tools / name).symlink_to(BUSYBOX)
        monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return request.param


async def settled(scratch, *wanted, **more):
    """The report of an apply after which nothing is left to do."""
    report = await apply(scratch.host, list(wanted), **more)
    assert report.ok, report.render()
    left = await plan(scratch.host, list(wanted), **more)
    assert left.empty, left.render()
    return report


def mode(path):
    return f"{path.lstat().st_mode & 0o7777:04o}"


async def test_directory_made_changed_and_removed(scratch, userland):
    top = scratch.path / "a" / "top"
    assert (await settled(scratch, Directory(str(top), mode="2750"))).changed
    assert mode(top) == "2750" and mode(top.parent) == "0755"
    (top / "sub").mkdir(mode=0o777)
    (top / "sub" / "file").write_text("x")
    (top / "link").symlink_to("/etc/passwd")
    await settled(scratch, Directory(str(top), mode="0700", recursive=True, file_mode="0640"))
    assert [mode(p) for p in (top, top / "sub", top / "sub" / "file")] == ["0700", "0700", "0640"]
    (blocked,) = (await plan(scratch.host, [Directory(str(top), absent=True)])).changes
    assert blocked.action == "blocked" and "recursive" in blocked.why
    await settled(scratch, Directory(str(top), absent=True, recursive=True))
    assert not top.exists() and top.parent.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to give files away")
async def test_directory_given_away_with_all_below_and_no_link_followed(scratch, userland):
    top, outside = scratch.path / "top", scratch.path / "outside"
    (top / "sub").mkdir(parents=True)
    outside.write_text("x")
    (top / "sub" / "link").symlink_to(outside)
    wanted = Directory(str(top), owner="daemon", group="daemon", recursive=True)
    shown = await plan(scratch.host, [wanted])
    assert "sub" in shown.render()
    await settled(scratch, wanted)
    assert {p.lstat().st_uid for p in (top, top / "sub", top / "sub" / "link")} == {1}
    assert outside.stat().st_uid == 0


async def test_purge_leaves_what_is_declared_however_deep_and_odd(scratch, userland):
    top = scratch.path / "t[o]p"
    declared = [File(f"{top}/{name}", content="kept") for name in NASTY]
    deep = File(f"{top}/sub/deep/kept", content="kept")
    inner = Directory(f"{top}/inner")
    await settled(scratch, *declared, deep, inner, Directory(str(top)))
    for name in NASTY:
        (top / f"{name}!").write_text("stray")
    (top / "sub" / "stray").mkdir()
    (top / "sub" / "stray" / "x").write_text("x")
    (top / "inner" / "theirs").write_text("x")
    (top / "away").symlink_to(scratch.path)
    wanted = [*declared, deep, inner, Directory(str(top), purge=True)]
    shown = await plan(scratch.host, wanted)
    assert [c.action for c in shown.changes] == ["update"] and "purged" in shown.render()
    await settled(scratch, *wanted)
    assert sorted(p.name for p in top.iterdir()) == sorted([*NASTY, "sub", "inner"])
    assert (top / "inner" / "theirs").exists() and not (top / "sub" / "stray").exists()
    assert (top / "sub" / "deep" / "kept").read_text() == "kept" and scratch.path.exists()


@pytest.mark.parametrize("target", [*NASTY, "ends in newline\n", "../x"])
async def test_a_link_to_anything_is_made_moved_and_removed(scratch, target):
    place = scratch.path / "a" / "link"
    await settled(scratch, Symlink(str(place), target="first"))
    await settled(scratch, Symlink(str(place), target=target))
    assert os.readlink(place) == target  # noqa: PTH115 - a Path would lose a newline at its end
    await settled(scratch, Symlink(str(place), absent=True))
    assert not place.is_symlink()


async def test_links_replace_links_to_directories_and_files_only_when_forced(scratch, userland):
    target, other, link = (scratch.path / name for name in ("target", "other", "link"))
    target.mkdir()
    other.mkdir()
    link.symlink_to(target)
    await settled(scratch, Symlink(str(link), target=str(other)))
    assert link.resolve() == other and not list(target.iterdir())
    plain = scratch.path / "plain"
    plain.write_text("mine")
    (blocked,) = (await plan(scratch.host, [Symlink(str(plain), target="x")])).changes
    assert "force" in blocked.why and plain.read_text() == "mine"
    await settled(scratch, Symlink(str(plain), target="x", force=True))
    report = await apply(scratch.host, [Symlink(str(target), target="x", force=True)])
    assert not report.ok and target.is_dir()


async def test_lines_and_blocks_of_one_file_in_one_run(scratch, userland):
    path = scratch.path / "app.conf"
    path.write_text("# ours\na = 1\n#b = 1\nend")
    path.chmod(0o640)
    wanted = [
        Line("a = 2", file=str(path), match="^a ="),
        Line("b = 2", file=str(path), match="^#?b ="),
        Line("c = $(id) 'x' \\n", file=str(path), after="^b"),
        Block("more", file=str(path), content="x = 1\ny = 2", before="^end"),
        Line("# ours", file=str(path), absent=True),
    ]
    shown = (await plan(scratch.host, wanted)).render()
    assert "-a = 1" in shown and "+a = 2" in shown
    assert (await settled(scratch, *wanted)).passes == 1
    block = "# BEGIN more (converge)\nx = 1\ny = 2\n# END more (converge)\n"
    assert path.read_text() == f"a = 2\nb = 2\nc = $(id) 'x' \\n\n{block}end\n"
    assert mode(path) == "0640"
    await settled(scratch, Block("more", file=str(path), absent=True))
    assert "BEGIN" not in path.read_text()
    made = scratch.path / "new" / "file"
    (blocked,) = (await plan(scratch.host, [Line("x", file=str(made))])).changes
    assert "create" in blocked.why
    await settled(scratch, Line("x", file=str(made), create=True))
    assert made.read_text() == "x\n"


async def test_what_lines_cannot_be_changed_in_is_left_alone(scratch):
    binary, link = scratch.path / "binary", scratch.path / "link"
    binary.write_bytes(b"a\0b\n")
    link.symlink_to(binary)
    torn = scratch.path / "torn"
    torn.write_text("# BEGIN b (converge)\nmine\n")
    wanted = [
        Line("x", file=str(binary)),
        Line("x", file=str(link)),
        Line("x", file=str(torn), match="("),
        Block("b", file=str(torn), content="x"),
    ]
    shown = await plan(scratch.host, wanted)
    assert [c.action for c in shown.changes] == ["blocked"] * 4, shown.render()
    why = " ".join(c.why for c in shown.changes)
    assert all(word in why for word in ("NUL", "symbolic link", "regular expression", "marker"))
    assert not (await apply(scratch.host, wanted)).ok
    assert binary.read_bytes() == b"a\0b\n" and torn.read_text().endswith("mine\n")


async def test_a_file_that_fails_its_check_does_not_go_live(scratch, userland):
    path = scratch.path / "checked"
    good = File(str(path), content="good\n", mode="0640", check="grep -q good %s", backup=True)
    await settled(scratch, good)
    bad = File(str(path), content="bad\n", check="echo refused because; grep -q good", backup=True)
    report = await apply(scratch.host, [bad])
    assert not report.ok and "refused because" in report.outcomes[0].output, report.render()
    assert path.read_text() == "good\n" and mode(path) == "0640"
    assert [p.name for p in scratch.path.iterdir() if p.name.startswith(".converge")] == []
    line = Line("bad", file=str(path), check="! grep -q bad %s")
    assert not (await apply(scratch.host, [line])).ok and path.read_text() == "good\n"
    assert not list((scratch.state / "backup").rglob("checked*")), "kept, and nothing replaced it"


async def test_old_files_are_kept_where_asked(scratch, userland):
    path = scratch.path / "kept file"
    await settled(scratch, File(str(path), content="one"))
    await settled(scratch, File(str(path), content="two", backup=True))
    await settled(scratch, File(str(path), content="three", backup="beside"))
    await settled(scratch, Line("four", file=str(path), backup="beside"))
    (first,) = (scratch.state / "backup").rglob("kept file.*")
    assert first.read_text() == "one" and mode(scratch.state / "backup") == "0700"
    beside = sorted(p.read_text() for p in scratch.path.glob("kept file.2*"))
    assert beside == ["three", "two"]


async def test_files_and_templates_of_the_controller(scratch, userland):
    spec = scratch.path / "spec"
    (spec / "files").mkdir(parents=True)
    blob = bytes(range(256)) * 10
    (spec / "files" / "blob").write_bytes(blob)
    (spec / "t.j2").write_text(
        "{% for p in ports %}\nlisten {{ p }} on {{ host }};\n{% endfor %}\n"
    )
    one, two = scratch.path / "one", scratch.path / "two"
    wanted = [
        File(str(one), source="files/blob", mode="0755"),
        File(str(two), template="t.j2", variables={"ports": [80, 81]}),
    ]
    more = {"load": folder(spec), "variables": {"host": "a"}}
    report = await apply(scratch.host, wanted, run_id="r1", **more)
    assert report.ok and one.read_bytes() == blob
    assert two.read_text() == "listen 80 on a;\nlisten 81 on a;\n"
    assert (await plan(scratch.host, wanted, **more)).empty
    shown = (await plan(scratch.host, wanted, load=folder(spec), variables={"host": "b"})).render()
    assert "-listen 80 on a;" in shown and "+listen 80 on b;" in shown
    with pytest.raises(RunMismatch):
        await apply(scratch.host, wanted, run_id="r1", load=folder(spec), variables={"host": "b"})


def packed(kind: str, names: dict[str, str]) -> bytes:
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as archive:
            for name, text in names.items():
                archive.writestr(name, text)
    else:
        with tarfile.open(fileobj=out, mode=f"w:{kind}") as tar:
            for name, text in names.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.uid, entry.mode = len(text), 4242, 0o644
                tar.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


@pytest.mark.parametrize("kind", ["", "gz", "xz", "zip"])
async def test_archive_unpacked_changed_and_removed(scratch, userland, kind):
    if kind == "zip" and not shutil.which("unzip"):
        pytest.skip("unzip is not installed")
    top = scratch.path / "opt" / "app"
    files = {"a": packed(kind, {"app-1/bin/x": "one", "app-1/.hidden": "h", "app-1/old": "o"}),
             "b": packed(kind, {"app-2/bin/x": "two"})}  # fmt: skip
    load = files.__getitem__
    first = Archive(str(top), source="a", strip=1)
    await settled(scratch, first, load=load)
    assert (top / "bin" / "x").read_text() == "one" and (top / ".hidden").read_text() == "h"
    assert (top / "bin" / "x").stat().st_uid == os.getuid()
    (top / "mine").write_text("mine")
    await settled(scratch, Archive(str(top), source="b", strip=1), load=load)
    assert (top / "bin" / "x").read_text() == "two" and (top / "mine").exists()
    top.chmod(0o711)
    await settled(scratch, Archive(str(top), source="a", strip=1, exclusive=True), load=load)
    assert sorted(p.name for p in top.iterdir()) == [".hidden", "bin", "old"]
    assert mode(top) == "0711" and [p.name for p in top.parent.iterdir()] == ["app"]
    shutil.rmtree(top)
    await settled(scratch, Archive(str(top), source="a", strip=1, exclusive=True), load=load)
    await settled(scratch, Archive(str(top), absent=True), load=load)
    assert not top.exists()


async def test_a_broken_archive_leaves_what_is_there(scratch, userland):
    top = scratch.path / "app"
    good = packed("gz", {"x": "one"})
    await settled(scratch, Archive(str(top), source="a"), load={"a": good}.__getitem__)
    report = await apply(
        scratch.host, [Archive(str(top), source="a")], load={"a": good[:-20]}.__getitem__
    )
    assert not report.ok and "cannot be unpacked" in report.outcomes[0].output, report.render()
    assert (top / "x").read_text() == "one"
    assert sorted(p.name for p in scratch.path.iterdir() if "converge-" in p.name) == []
    theirs = scratch.path / "theirs"
    theirs.mkdir()
    (blocked,) = (await plan(scratch.host, [Archive(str(theirs), absent=True)])).changes
    assert blocked.action == "blocked"


async def test_archive_from_a_url_with_another_sum_is_not_unpacked(scratch):
    source = scratch.path / "app.tar"
    source.write_bytes(packed("", {"x": "one"}))
    top = scratch.path / "app"
    wanted = Archive(str(top), url=f"file://{source}", sha256="a" * 64)
    report = await apply(scratch.host, [wanted])
    assert not report.ok and "SHA-256" in report.outcomes[0].output and not top.exists()


@pytest.fixture
def upstream(tmp_path):
    """A repository with a branch and a tag, and a function that commits to it."""
    path = tmp_path / "upstream"
    path.mkdir()

    def git(*words):
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "HOME": str(tmp_path)}
        name = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        return subprocess.run(
            ["git", *name, *words], cwd=path, env=environment, check=True, capture_output=True,
            text=True,
        ).stdout.strip()  # fmt: skip

    git("init", "-q", "-b", "main")

    def commit(text, *then):
        (path / "page").write_text(text)
        git("add", ".")
        git("commit", "-q", "-m", text)
        for words in then:
            git(*words)
        return git("rev-parse", "HEAD")

    return path, commit


async def test_checkout_made_moved_and_removed(scratch, upstream):
    repo, commit = upstream
    first = commit("one", ("tag", "-a", "v1", "-m", "v1"))
    top = scratch.path / "srv" / "site"
    follow = Git(str(top), repo=f"file://{repo}", ref="main")
    await settled(scratch, follow)
    assert (top / "page").read_text() == "one"
    second = commit("two")
    shown = await plan(scratch.host, [follow])
    assert second[:12] in shown.render() and first[:12] in shown.render()
    await settled(scratch, follow)
    assert (top / "page").read_text() == "two"
    await settled(scratch, Git(str(top), repo=f"file://{repo}", ref="v1"))
    assert (top / "page").read_text() == "one"
    await settled(scratch, Git(str(top), repo=str(repo), ref=second))
    (top / "page").write_text("edited")
    (top / "untracked").write_text("x")
    assert (await plan(scratch.host, [Git(str(top), repo=str(repo), ref=second)])).empty
    (stuck,) = (await plan(scratch.host, [Git(str(top), repo=str(repo), ref=first)])).changes
    assert stuck.action == "blocked" and "force" in stuck.why
    await settled(scratch, Git(str(top), repo=str(repo), ref=first, force=True))
    assert (top / "page").read_text() == "one" and (top / "untracked").exists()
    (top / ".git" / "index.lock").touch()
    await settled(scratch, Git(str(top), repo=str(repo), ref=second))
    await settled(scratch, Git(str(top), absent=True))
    assert not top.exists()


async def test_checkout_of_what_is_not_there_says_so(scratch, upstream):
    repo, commit = upstream
    commit("one")
    top = scratch.path / "site"
    (change,) = (await plan(scratch.host, [Git(str(top), repo=str(repo), ref="gone")])).changes
    assert change.action == "create"
    report = await apply(scratch.host, [Git(str(top), repo=str(repo), ref="gone")])
    assert not report.ok and "no branch or tag gone" in report.outcomes[0].output
    report = await apply(scratch.host, [Git(str(top), repo=f"{repo}-gone")])
    assert not report.ok and "does not appear" in report.outcomes[0].output, report.render()
    (top / "mine").write_text("x")
    shutil.rmtree(top / ".git", ignore_errors=True)
    (blocked,) = (await plan(scratch.host, [Git(str(top), repo=str(repo))])).changes
    assert blocked.action == "blocked" and "no checkout" in blocked.why


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to run git as somebody else")
async def test_a_checkout_is_its_owners_and_its_hooks_run_as_the_owner(scratch, upstream):
    repo, commit = upstream
    commit("one")
    for path in (scratch.path, *scratch.path.parents):
        if path.stat().st_mode & 0o001 == 0 and path.owner() == "root":
            path.chmod(path.stat().st_mode | 0o011)
    for path in (repo, *repo.rglob("*")):
        os.chown(path, 1, 1)
    top = scratch.path / "site"
    wanted = Git(str(top), repo=str(repo), ref="main", owner="daemon")
    await settled(scratch, wanted)
    assert {p.lstat().st_uid for p in (top, *top.rglob("*"))} == {1}
    hook = top / ".git" / "hooks" / "post-checkout"
    hook.write_text("#!/bin/sh\nid -u >>$(git rev-parse --git-dir)/who\n")
    hook.chmod(0o755)
    for path in (repo, *repo.rglob("*")):
        os.chown(path, 0, 0)
    commit("two")
    for path in (repo, *repo.rglob("*")):
        os.chown(path, 1, 1)
    await settled(scratch, wanted)
    assert (top / "page").read_text() == "two"
    assert set((top / ".git" / "who").read_text().split()) == {"1"}
