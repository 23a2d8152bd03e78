"""Commands handed to the warm process: whatever it has loaded, they are as they would be here."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from temporal.cli.common import DONE, INTERRUPTED, WRONG
from temporal.cli.front import COMMANDS, SOCKET
from tests.temporal.cli.support import Done, Running, Shell, until, warm_beside

NOT_TAKEN = 99
FRONT = (
    "import sys; from temporal.cli.front import hand_over; status = hand_over(sys.argv[1:]); "
    f"sys.exit({NOT_TAKEN} if status is None else status)"
)


def said(done: Done) -> list[str]:
    """Standard error, but for ids drawn at random and how far a run was when somebody looked."""
    lines = re.sub(r"-[0-9a-f]{8}\b", "", done.err).splitlines()
    return [line for line in lines if not line.startswith("  test_activity")]


@pytest.fixture
def warm(ops: Shell) -> Iterator[Shell]:
    """`ops`, with a warm process."""
    with warm_beside(ops):
        yield ops


def front(shell: Shell, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The command if it can be handed over; else status NOT_TAKEN."""
    return subprocess.run(
        [sys.executable, "-c", FRONT, *args],
        env=shell.environment(**env),
        cwd=shell.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "args",
    [
        ("list",),
        ("list", "--json"),
        ("runs", "list", "--json"),
        ("runs", "show", "nobody"),
        ("run", "TestWorkflo"),
        ("run", "TestWorkflow"),
        ("run", "--help"),
        ("run", "TestWorkflow", "--input", "World"),
        ("run", "TestWorkflow", "--file", "input.json"),
        ("run", "TestWorkflow", "--file", "-"),
        ("run", "TestWorkflow", "--file", "-", "--json", "--id", "one"),
        ("run", "Trouble", "-i", '"value"'),
        ("provision", "plan", "gr\udcfc\udcdfe.yml"),
        ("backup", "status", "nothing.yml"),
        ("backup", "restore", "--help"),
    ],
)
def test_same_output_and_status(warm: Shell, args: tuple[str, ...]) -> None:
    (warm.folder / "input.json").write_text('"W\u00f6rld"')
    handed = warm(*args, stdin='"stdin"', TEMPORAL_STARTED_BY="one")
    here = warm(*args, stdin='"stdin"', TEMPORAL_STARTED_BY="one", TEMPORAL_WARM="false")
    assert handed.status == here.status
    if args[0] == "runs" and args[1] == "list":
        assert {run["id"] for run in handed.json} <= {run["id"] for run in here.json}
    else:
        assert handed.out == here.out
        assert said(handed) == said(here)


def test_it_has_our_environment_folder_and_umask(warm: Shell) -> None:
    done = front(
        warm, "run", "TestWorkflow", "-i", '"x"', "--id", "mine", TEMPORAL_STARTED_BY="eve"
    )
    assert (done.returncode, done.stdout) == (DONE, "Hello, x!\n"), done.stderr
    assert (
        json.loads(front(warm, "runs", "list", "--by", "eve", "--json").stdout)[0]["id"] == "mine"
    )
    inner = warm.folder / "inner"
    inner.mkdir()
    (inner / "input.json").write_text('"there"')
    elsewhere = Shell(inner, {k: v for k, v in warm.env.items() if k != "TEMPORAL_MODULES"})
    with warm_beside(elsewhere):
        above = front(elsewhere, "run", "TestWorkflow", "-f", "input.json")
        assert above.returncode == DONE and above.stdout == "Hello, there!\n", above.stderr


@pytest.mark.parametrize(
    "env",
    [
        {"TEMPORAL_WARM": "false"},
        {"TEMPORAL_MODULES": "night"},
        {"PYTHONHASHSEED": "7"},
        {"TEMPORAL_STATE_DIR": "/nowhere"},
    ],
)
def test_what_would_not_be_the_same_is_not_handed_over(warm: Shell, env: dict[str, str]) -> None:
    assert front(warm, "list").returncode == DONE
    assert front(warm, "list", **env).returncode == NOT_TAKEN


@pytest.mark.parametrize("command", ["up", "worker", "new", "check", "config", "lab", "--help", ""])
def test_other_commands_are_not_handed_over(warm: Shell, command: str) -> None:
    assert command not in COMMANDS
    assert front(warm, *command.split(), "--help").returncode == NOT_TAKEN


def test_another_users_process_is_not_told_our_secrets(ops: Shell) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    become = FRONT.replace("status =", "import os; os.setgid(65534); os.setuid(65534); status =")
    state = ops.folder / "state"
    state.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(state / SOCKET))
        listener.listen()
        (state / SOCKET).chmod(0o777)
        for folder in (state, *list(state.parents)[:4]):
            folder.chmod(0o755)
        argv = [sys.executable, "-c", become, "list"]
        process = subprocess.Popen(argv, env=ops.environment(), cwd="/")
        line, _ = listener.accept()
        with line:
            line.settimeout(60)
            assert line.recv(1) == b""
        assert process.wait(60) == NOT_TAKEN


def test_changed_code_is_run_here_and_loaded_anew(ops: Shell) -> None:
    package = ops.folder / "mine"
    package.mkdir()
    text = "from temporalio import activity\n\nWORKFLOWS: list = []\n\n\n@activity.defn\n"
    text += "async def {name}() -> None:\n    pass\n\n\nACTIVITIES = [{name}]\n"
    (package / "__init__.py").write_text(text.format(name="before"))
    ops.env["TEMPORAL_MODULES"] = "mine"
    with warm_beside(ops):
        assert "before" in front(ops, "list").stdout
        (package / "__init__.py").write_text(text.format(name="afterwards"))
        assert front(ops, "list").returncode == NOT_TAKEN
        assert "afterwards" in ops("list").out
        until(lambda: "afterwards" in front(ops, "list").stdout, lambda: "the new code")


def patient(shell: Shell, inside: Sequence[str] = ()) -> Running:
    """A run that goes on until the file `go` is there."""
    shell = dataclasses.replace(shell, inside=[*inside])
    running = shell.start("run", "Patient", "-i", f'"{shell.folder}/go"', "--id", shell.folder.name)
    running.says("1/3 waiting")
    return running


def commands(shell: Shell) -> list[psutil.Process]:
    """The processes forked for commands that run for `shell`."""
    state = str(shell.folder / "state")
    all_of = [p for p in psutil.Process().children(recursive=True) if state in p.cmdline()]
    return [p for p in all_of if p.ppid() in {other.pid for other in all_of}]


DEAF = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh"]
"""As a shell without job control starts what goes to the background."""


@pytest.mark.parametrize("inside", [[], DEAF])
def test_a_signal_reaches_it_and_the_status_comes_back(warm: Shell, inside: list[str]) -> None:
    running = patient(warm, inside)
    assert len(commands(warm)) == 1
    running.process.send_signal(signal.SIGINT)
    assert running.ends() == INTERRUPTED
    assert '"running"' in warm("runs", "show", warm.folder.name, "--json").out
    warm("runs", "terminate", warm.folder.name)


def test_what_its_front_ignores_it_ignores(warm: Shell) -> None:
    running = patient(warm, inside=["nohup"])
    running.process.send_signal(signal.SIGHUP)
    [command] = commands(warm)
    (warm.folder / "go").write_text("")
    assert running.ends() == DONE and not command.is_running()


def test_it_ends_when_its_front_is_killed(warm: Shell) -> None:
    running = patient(warm)
    [command] = commands(warm)
    running.process.kill()
    running.process.wait()
    until(lambda: not command.is_running(), lambda: "the end of the command")
    warm("runs", "terminate", warm.folder.name)


def test_a_killed_command_looks_killed(warm: Shell) -> None:
    running = patient(warm)
    [command] = commands(warm)
    command.kill()
    assert running.ends() == -signal.SIGKILL
    warm("runs", "terminate", warm.folder.name)


def test_it_is_suspended_and_goes_on_with_its_front(warm: Shell) -> None:
    running = patient(warm)
    [command] = commands(warm)
    running.process.send_signal(signal.SIGTSTP)
    for process in (command, psutil.Process(running.process.pid)):
        until(lambda p=process: p.status() == psutil.STATUS_STOPPED, lambda: "it stops")
    running.process.send_signal(signal.SIGCONT)
    (warm.folder / "go").write_text("")
    assert running.ends() == DONE


def test_a_warm_process_killed_is_told_and_the_next_command_runs_here(ops: Shell) -> None:
    with warm_beside(ops):
        running = patient(ops)
        [command] = commands(ops)
        parent = command.parent()
        assert parent is not None
        parent.kill()
        assert running.ends() == 1
        assert "`temporal-ops runs list`" in running.err
        command.kill()
    assert (ops.folder / "state" / SOCKET).exists(), "a dead one is in the way"
    (ops.folder / "go").write_text("")
    assert front(ops, "list").returncode == NOT_TAKEN
    assert ops("run", "TestWorkflow", "-i", "1").status == WRONG
    assert ops("run", "TestWorkflow", "-i", '"World"').out == "Hello, World!\n"


def test_up_starts_it_and_it_goes_with_it(shell: Shell, island: list[str]) -> None:
    shell.inside = island
    up = shell.start("up")
    up.says("Ctrl-C stops")
    socket = Path(shell.environment()["TEMPORAL_STATE_DIR"]) / SOCKET
    until(socket.exists, lambda: "the warm process")
    [warm] = [p for p in psutil.Process(up.process.pid).children() if "-P" in p.cmdline()]
    assert psutil.Process(warm.pid).num_threads() == 1, "a fork of threads is not a fresh process"
    up.process.kill()
    up.process.wait()
    until(lambda: not warm.is_running(), lambda: "its end")
    assert not socket.exists()
