"""A run seen from a terminal: what stands there when it goes well, badly, or not at all."""

from __future__ import annotations

import signal

from temporal.cli.common import DONE, ENDED, FAILED, INTERRUPTED
from tests.temporal.cli.support import Shell, Terminal, killed_server, network_of, until

ASKS = r"\[c\]ancel the run, \[l\]eave it, or \[w\]atch on\?"


def patient(ops: Shell, *more: str, columns: int = 80, **env: str) -> Terminal:
    """A run that goes on until the file `go` is there, on a terminal."""
    return Terminal(
        ops, "run", "Patient", "-i", f'"{ops.folder}/go"', *more, columns=columns, **env
    )


def test_the_live_view_shows_progress_and_then_the_result(either: Shell) -> None:
    terminal = patient(either)
    at = terminal.shows(r"wait_for_file web1 1/3 waiting")
    assert not terminal.echoes(), "keys would push the lines out of place"
    (either.folder / "go").write_text("")
    terminal.shows(r"waited completed after", at)
    assert terminal.ends() == DONE and terminal.echoes()


def test_ctrl_c_asks_and_cancel_cancels(either: Shell) -> None:
    terminal = patient(either)
    terminal.shows("1/3 waiting")
    terminal.press("\x03")
    at = terminal.shows(ASKS)
    terminal.press("what?\r")
    at = terminal.shows(ASKS, at)
    terminal.press("c\r")
    terminal.shows(r"cancelled after", at)
    assert terminal.ends() == ENDED


def test_ctrl_c_and_leave_leaves_it_running(either: Shell) -> None:
    terminal = patient(either)
    terminal.shows("1/3 waiting")
    terminal.press("\x03")
    terminal.shows(ASKS)
    terminal.press("l\r")
    terminal.shows("left running")
    assert terminal.ends() == INTERRUPTED and terminal.echoes()
    [run] = either("runs", "list", "--by", either.env["TEMPORAL_STARTED_BY"], "--json").json
    assert run["status"] == "running"
    either("runs", "terminate", run["id"])


def test_a_second_ctrl_c_leaves_and_watch_watches_on(either: Shell) -> None:
    terminal = patient(either)
    at = terminal.shows("1/3 waiting")
    terminal.press("\x03")
    at = terminal.shows(ASKS, at)
    terminal.press("w\r")
    at = terminal.shows("1/3 waiting", at)
    terminal.press("\x03")
    terminal.shows(ASKS, at)
    terminal.press("\x03")
    assert terminal.ends() == INTERRUPTED
    [run] = either("runs", "list", "--by", either.env["TEMPORAL_STARTED_BY"], "--json").json
    assert run["status"] == "running"
    either("runs", "terminate", run["id"])


def test_a_run_that_ends_during_the_question_is_told(either: Shell) -> None:
    terminal = patient(either)
    terminal.shows("1/3 waiting")
    terminal.press("\x03")
    at = terminal.shows(ASKS)
    (either.folder / "go").write_text("")
    terminal.shows(r"it has ended meanwhile[\s\S]*waited completed", at)
    assert terminal.ends() == DONE


def test_sigterm_leaves_without_asking(either: Shell) -> None:
    running = either.start("run", "Patient", "-i", f'"{either.folder}/go"', "--json")
    until(
        lambda: either("runs", "list", "--by", either.env["TEMPORAL_STARTED_BY"], "--json").json,
        lambda: "the run",
    )
    running.process.send_signal(signal.SIGTERM)
    assert running.ends() == INTERRUPTED
    assert '"status": "running"' in running.out
    (either.folder / "go").write_text("")


def test_no_line_is_wider_than_a_narrow_terminal(either: Shell) -> None:
    terminal = patient(either, columns=40)
    terminal.shows("1/3")
    (either.folder / "go").write_text("")
    assert terminal.ends() == DONE
    drawn = [line for line in terminal.text.split("\n") if "Patient " in line or "  wait" in line]
    assert drawn and max(map(len, drawn)) <= 40, drawn


def test_without_a_worker_it_says_so(ops: Shell, queue: str) -> None:
    running = ops.start("run", "Patient", "-i", '"x"', TEMPORAL_TASK_QUEUE=queue)
    running.says(f"no worker polls queue '{queue}'.*temporal-ops worker")
    assert running.err.count("no worker polls") == 1
    running.process.send_signal(signal.SIGINT)
    assert running.ends() == INTERRUPTED


def test_a_stuck_workflow_is_shown_with_its_error(ops: Shell) -> None:
    running = ops.start("run", "Stuck")
    running.says("stuck: its own code fails")
    running.says("ZeroDivisionError: the pool was never filled")
    assert "Traceback" not in running.err
    running.process.send_signal(signal.SIGTERM)
    assert running.ends() == INTERRUPTED
    [run] = ops("runs", "list", "--by", ops.env["TEMPORAL_STARTED_BY"], "--json").json
    assert "never filled" in ops("runs", "show", run["id"]).out
    ops("runs", "terminate", run["id"])


def test_it_outlives_the_server(shell: Shell, queue: str) -> None:
    with killed_server(shell.folder / "server") as (address, kill, start):
        shell.env |= {
            "TEMPORAL_ADDRESS": address,
            "TEMPORAL_TASK_QUEUE": queue,
            "TEMPORAL_MODULES": "night",
        }
        shell.start("worker").says("serves")
        go = shell.folder / "go"
        running = shell.start("run", "Patient", "-i", f'"{go}"')
        running.says("1/3 waiting")
        kill()
        running.says("waiting for it to come back")
        start()
        running.says("the server answers again")
        go.write_text("")
        assert running.ends() == DONE and running.out == "waited\n"


def test_a_run_of_its_own_server_is_left_at_once_and_goes_on_later(
    shell: Shell, island: list[str]
) -> None:
    shell.inside = island
    shell.env |= {"TEMPORAL_MODULES": "night"}
    terminal = patient(shell)
    terminal.shows("using an embedded one")
    terminal.shows("1/3 waiting")
    terminal.press("\x03")
    terminal.shows(ASKS)
    terminal.press("l\r")
    terminal.shows(r"It goes on with `temporal-ops up`")
    assert terminal.ends() == INTERRUPTED
    (shell.folder / "go").write_text("")
    shell.start("up").says("web UI")
    shell.inside = network_of(shell.started[-1].pid)
    [run] = shell("runs", "list", "--json").json
    until(
        lambda: shell("runs", "show", run["id"], "--json").json["result"] == "waited",
        lambda: shell("runs", "show", run["id"]).out,
    )


def test_a_run_goes_on_when_the_command_whose_server_it_uses_ends(
    shell: Shell, island: list[str]
) -> None:
    shell.inside = island
    shell.env |= {"TEMPORAL_MODULES": "night"}
    first = shell.start("run", "Patient", "-i", f'"{shell.folder}/first"')
    first.says("1/3 waiting")
    shell.inside = network_of(first.process.pid)
    second = shell.start("run", "Patient", "-i", f'"{shell.folder}/second"')
    second.says("1/3 waiting")
    (shell.folder / "first").write_text("")
    assert first.ends() == DONE and first.out == "waited\n"
    second.says("going on with our own")
    (shell.folder / "second").write_text("")
    assert second.ends() == DONE and second.out == "waited\n"


def test_a_failure_in_the_live_view_is_told_without_stack_traces(
    shell: Shell, island: list[str]
) -> None:
    shell.inside = island
    terminal = Terminal(shell, "run", "Chain", TEMPORAL_MODULES="night")
    assert terminal.ends() == FAILED
    told = " ".join(terminal.text.split())
    assert "RuntimeError: the backup failed caused by ValueError" in told
    assert "Traceback" not in told and "Completing activity" not in told, "logs are in a file"
    log = (shell.folder / "state" / "worker.log").read_text()
    assert "Traceback" in log and "fail_in_a_chain" in log
