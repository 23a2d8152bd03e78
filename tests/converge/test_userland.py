"""Files on a real disk, with the userland of Debian and with nothing but busybox."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converge import Command, File, apply, plan
from converge.shell import complete, quote

BUSYBOX = shutil.which("busybox")
SHELLS = [["dash"], ["bash", "--posix"]] + ([[BUSYBOX, "sh"]] if BUSYBOX else [])


@pytest.fixture(params=["debian", "busybox"])
def userland(request, tmp_path, monkeypatch):
    if request.param == "busybox":
        if BUSYBOX is None:
            pytest.skip("busybox is not installed")
        folder = tmp_path / "busybox"
        folder.mkdir()
        names = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True)
        for name in names.stdout.split():
            (folder / name).symlink_to(BUSYBOX)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return request.param


# Whatever a name may hold: all of Unicode but NUL, "/" and lone surrogates.
NAMES = st.text(
    st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=40
).filter(lambda name: name not in {".", ".."} and len(name.encode()) < 200)
NASTY = st.sampled_from(
    [
        "$(touch pwned)",
        "`id`",
        "a'b",
        'a"b',
        "a\nb",
        "\n",
        " ",
        "-rf",
        "--",
        "*",
        "~",
        "a\\b",
        "\\",
        "'",
        "é",
        "\x81\x88",
        "a\tb",
        "${HOME}",
        "x;y",
        "&",
        "|",
        "#",
        "!",
        "\x1b[31m",
        "a\n",
    ]
)


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@given(
    values=st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | NASTY,
        max_size=8,
    )
)
@settings(max_examples=60, deadline=None)
def test_a_quoted_word_reaches_the_command_as_it_was(shell, values):
    body = "\n".join(f"printf '%s\\0' {quote(value)}" for value in values) or ":"
    done = subprocess.run([*shell, "-s"], input=complete(body), capture_output=True, check=True)
    assert done.stdout == b"".join(value.encode() + b"\0" for value in values)


@given(
    names=st.lists(NASTY | NAMES, min_size=1, max_size=5, unique=True),
    content=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
)
@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_files_of_any_name_and_content(scratch, userland, names, content):
    folder = scratch.path / "files"
    shutil.rmtree(folder, ignore_errors=True)
    wanted = [File(f"{folder}/{name}", content=content) for name in names]
    report = await apply(scratch.host, wanted)
    assert report.ok, report.render()
    assert {p.name: p.read_bytes().decode() for p in folder.iterdir()} == dict.fromkeys(
        names, content
    )
    assert (await plan(scratch.host, wanted)).empty
    gone = await apply(scratch.host, [File(f"{folder}/{name}", absent=True) for name in names])
    assert gone.ok and not list(folder.iterdir())


async def test_apply_change_apply_again(scratch, userland):
    path = scratch.path / "a" / "b" / "c"
    first = await apply(scratch.host, [File(str(path), content="one\n", mode="0600")])
    assert first.changed and path.read_text() == "one\n" and path.stat().st_mode & 0o7777 == 0o600
    assert path.parent.stat().st_mode & 0o7777 == 0o755
    shown = await plan(scratch.host, [File(str(path), content="two\n", mode="0640")])
    assert "-one" in shown.render() and "+two" in shown.render()
    assert "mode: 0600 -> 0640" in shown.render()
    again = await apply(scratch.host, [File(str(path), content="two\n")])
    assert again.changed and path.read_text() == "two\n"
    assert path.stat().st_mode & 0o7777 == 0o600, "a mode that is not declared was changed"
    idle = await apply(scratch.host, [File(str(path), content="two\n")])
    assert idle.ok and not idle.changed and idle.passes == 0


async def test_a_large_file_is_never_an_argument(scratch, userland):
    content = "0123456789abcdef" * 65536
    path = scratch.path / "large"
    report = await apply(scratch.host, [File(str(path), content=content)])
    assert report.ok, report.render()
    assert path.read_text() == content


async def test_hundreds_of_long_paths_are_never_one_argument_list(scratch):
    folder = scratch.path / ("d" * 200) / ("e" * 200)
    wanted = [File(f"{folder}/{number:03d}{'f' * 200}", content="x") for number in range(300)]
    assert (await apply(scratch.host, wanted)).ok
    assert (await plan(scratch.host, wanted)).empty


async def test_what_is_in_the_way_is_not_clobbered(scratch, userland):
    target = scratch.path / "target"
    target.write_text("mine")
    link, folder, above = (scratch.path / name for name in ("link", "folder", "above"))
    link.symlink_to(target)
    folder.mkdir()
    above.write_text("a file")
    after = scratch.path / "after"
    wanted = [
        File(str(link), content="x"),
        File(str(folder), content="x"),
        File(f"{above}/below", content="x"),
        File(str(after), content="x", needs=[f"file:{link}"]),
        File(str(scratch.path / "other"), content="x"),
    ]
    report = await apply(scratch.host, wanted)
    assert [o.status for o in report.outcomes] == [
        "failed",
        "failed",
        "failed",
        "skipped",
        "changed",
    ]
    assert "symbolic link" in report.outcomes[0].because
    assert "directory" in report.outcomes[1].because
    assert "is not a directory" in report.outcomes[2].output
    assert report.outcomes[3].because == wanted[0].id
    assert target.read_text() == "mine" and link.is_symlink() and folder.is_dir()
    with pytest.raises(Exception, match="symbolic link"):
        report.raise_for_failure()


async def test_a_link_is_removed_and_its_target_stays(scratch):
    target, link = scratch.path / "target", scratch.path / "link"
    target.write_text("mine")
    link.symlink_to(target)
    assert (await apply(scratch.host, [File(str(link), absent=True)])).changed
    assert target.read_text() == "mine" and not link.is_symlink()


async def test_a_command_runs_until_its_guard_holds(scratch, userland):
    made = scratch.path / "ma de"
    wanted = [
        Command(
            f"echo \"$A\" >>'{made}'",
            creates=str(made),
            unless=f"test -s '{made}'",
            environment={"A": "it's $(id)"},
            cwd=str(scratch.path),
            timeout=20,
        )
    ]
    report = await apply(scratch.host, wanted)
    assert report.ok, report.render()
    assert made.read_text() == "it's $(id)\n"
    assert (await plan(scratch.host, wanted)).empty
    late = await apply(scratch.host, [Command("sleep 30", creates="/nowhere", timeout=0.2)])
    assert "ended after 1 s" in late.outcomes[0].output, late.render()


async def test_an_owner_that_is_nowhere_is_refused_by_the_plan(scratch):
    wanted = File(str(scratch.path / "x"), content="x", owner="nobody-at-all")
    (change,) = (await plan(scratch.host, [wanted])).changes
    assert change.action == "blocked" and "nobody-at-all" in change.why


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_cut_off_script_runs_nothing(shell, tmp_path):
    mark = tmp_path / "mark"
    script = complete(f"echo 1 >{quote(str(mark))}\nrm -rf {quote(str(tmp_path / 'a' / 'b'))}")
    for length in range(len(script) - 12):
        subprocess.run([*shell, "-s"], input=script[:length], capture_output=True, check=False)
        assert not mark.exists(), script[:length]
    subprocess.run([*shell, "-s"], input=script, check=True)
    assert mark.exists()


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_child_that_reads_standard_input_swallows_nothing(shell):
    # Nor does it wait for an end of input that never comes.
    script = complete("cat; echo after")
    process = subprocess.Popen([*shell, "-s"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(script)
        process.stdin.write(b"echo swallowed\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], 20)
        assert ready, "the child waits for input"
        assert process.stdout.readline() == b"after\n"
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become somebody else")
async def test_a_user_without_rights(scratch):
    # Not below tmp_path, which nobody but its owner may enter.
    home = Path(tempfile.mkdtemp(prefix="converge-home-"))
    try:
        _without_rights(scratch, home)
    finally:
        shutil.rmtree(home)


def _without_rights(scratch, home):
    os.chown(home, 65534, 65534)
    private = home / "private"
    private.mkdir(mode=0o700)
    (private / "x").write_text("x")
    code = f"""
import os
# Loads all code first: the interpreter's own files may not be everybody's to read.
warm = Host.local(state_dir={str(scratch.state)!r})
asyncio.run(apply(warm, [File({str(scratch.path / "warm")!r}, content="x")]))
os.setgroups([]); os.setgid(65534); os.setuid(65534)
os.environ["HOME"] = {str(home)!r}; os.environ.pop("XDG_STATE_HOME", None)
async def main():
    host = Host.local()
    report = await apply(host, [
        File({str(home / "mine")!r}, content="x", mode="0640"),
        File("/etc/converge-not-mine", content="x"),
        File({str(private / "x")!r}, content="x"),
    ], run_id="r1")
    print([o.status for o in report.outcomes], report.outcomes[1].output,
          report.outcomes[2].output, report.outcomes[2].because, sep="|")
asyncio.run(main())
"""
    process = scratch.controller(code)
    out = process.communicate()[0].decode()
    assert process.returncode == 0, out
    statuses, etc, hidden, why = out.strip().split("|")
    assert statuses == "['changed', 'failed', 'failed']", out
    assert "ermission denied" in etc and ("ermission denied" in hidden + why)
    assert (home / "mine").stat().st_uid == 65534
    assert (home / ".local/state/converge/runs/r1/journal.1").exists()
