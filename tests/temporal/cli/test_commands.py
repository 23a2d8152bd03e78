"""Exit codes, JSON and messages of every command, as the help of `temporal-ops` documents them."""

from __future__ import annotations

import json
import socket

import pytest

from temporal.cli.common import DONE, ENDED, FAILED, UNREACHABLE, WRONG
from tests.temporal.cli.support import Shell

WHOLE = "host: local\nresources:\n  - file: {0}/made\n    content: x\n"


def test_a_result_goes_to_stdout_alone(ops: Shell) -> None:
    done = ops("run", "TestWorkflow", "--input", '"World"')
    assert (done.status, done.out) == (DONE, "Hello, World!\n")
    assert "run TestWorkflow-" in done.err


def test_each_command_gives_json_and_nothing_else(ops: Shell) -> None:
    ran = ops("run", "TestWorkflow", "-i", '"J"', "--json").json
    assert ran["status"] == "completed" and ran["result"] == "Hello, J!"
    started = ops("run", "Patient", "-i", '"never"', "--no-wait", "--json").json
    assert {row["id"] for row in ops("runs", "list", "--json").json} >= {ran["id"], started["id"]}
    shown = ops("runs", "show", ran["id"], "--json").json
    assert shown["result"] == "Hello, J!" and shown["steps"][0]["status"] == "completed"
    other = ops("run", "Patient", "-i", '"never"', "--no-wait", "--json").json["id"]
    assert ops("runs", "cancel", started["id"], "--json").json["id"] == started["id"]
    assert ops("runs", "terminate", other, "--json").json["id"] == other
    names = {row["name"] for row in ops("list", "--json").json}
    assert {"TestWorkflow", "converge_host"} <= names
    config = {row["name"]: row for row in ops("config", "--json").json}
    assert config["address"]["origin"] == "environment TEMPORAL_ADDRESS"
    assert ops("lab", "ls", "--lab", "no-such-lab", "--json").json == []
    assert ops("lab", "down", "--lab", "no-such-lab", "--json").json == {"removed": []}


def test_check_gives_json(shell: Shell) -> None:
    done = shell("check", "--json")
    assert done.status == DONE, done.out
    json.loads(done.out)


def test_a_failed_run_is_1_and_shows_its_causes(ops: Shell) -> None:
    done = ops("run", "Chain")
    assert (done.status, done.out) == (FAILED, "")
    told = done.err[done.err.index("failed after") :]
    assert "RuntimeError: the backup failed" in told
    assert "caused by ValueError: the index cannot be written" in told
    assert "caused by OSError: [Errno 28] No space left on device" in told
    assert "Traceback" not in done.err and "night" not in told, "stack traces are for logs"


def test_a_failed_run_in_json(ops: Shell) -> None:
    done = ops("run", "Chain", "--json")
    assert done.status == FAILED and done.json["status"] == "failed"
    assert done.json["failure"].count("caused by") == 2
    assert ops("runs", "show", done.json["id"], "--json").json["failure"] == done.json["failure"]


def test_a_result_over_the_limit_fails_at_once_with_size_and_limit(ops: Shell) -> None:
    call = {"activity": "big", "args": [3 * 1024 * 1024]}
    done = ops("run", "CallActivity", "-i", json.dumps(call))
    assert done.status == FAILED
    assert "3.00 MiB" in done.err and "2.00 MiB" in done.err


def test_an_activity_that_hangs_ends_the_run_naming_its_time(ops: Shell) -> None:
    done = ops("run", "CallActivity", "-i", '{"activity": "hang"}')
    assert done.status == FAILED and "imeout" in done.err, done.err


def test_cancelled_and_terminated_are_4(ops: Shell) -> None:
    for act, status in (("cancel", "cancelled"), ("terminate", "terminated")):
        running = ops.start("run", "Patient", "-i", f'"{ops.folder}/never"', "--json")
        run_id = ops("runs", "list", "--by", ops.env["TEMPORAL_STARTED_BY"], "--json")
        while not (found := [row for row in run_id.json if row["status"] == "running"]):
            run_id = ops("runs", "list", "--by", ops.env["TEMPORAL_STARTED_BY"], "--json")
        assert ops("runs", act, found[0]["id"]).status == DONE
        assert running.ends() == ENDED
        assert json.loads(running.out)["status"] == status


def test_terminating_says_why_and_who(ops: Shell) -> None:
    run_id = ops("run", "Patient", "-i", '"never"', "--no-wait").out.strip()
    assert ops("runs", "terminate", run_id, "--reason", "wrong host").status == DONE
    shown = ops("runs", "show", run_id).out
    assert f"wrong host (by {ops.env['TEMPORAL_STARTED_BY']})" in shown


@pytest.mark.parametrize("act", ["pause", "resume", "abort"])
def test_what_a_run_does_not_listen_to_is_refused(ops: Shell, act: str) -> None:
    run_id = ops("run", "Patient", "-i", '"never"', "--no-wait").out.strip()
    done = ops("runs", act, run_id, "--why", "lunch")
    assert (done.status, done.out) == (WRONG, "")
    assert f"{run_id} refuses to {act}" in done.err
    ops("runs", "terminate", run_id)


@pytest.mark.parametrize("act", ["show", "cancel", "terminate", "pause", "resume", "abort"])
def test_a_run_that_is_not_there(ops: Shell, act: str) -> None:
    done = ops("runs", act, "no-such-run")
    assert (done.status, done.out) == (WRONG, "")
    assert "'no-such-run'" in done.err and "runs list" in done.err


def test_an_unknown_workflow_offers_near_ones(ops: Shell) -> None:
    done = ops("run", "provisionserver")
    assert done.status == WRONG and "Did you mean ProvisionServer" in done.err
    far = ops("run", "Zzz")
    assert far.status == WRONG and "Known: " in far.err and "TestWorkflow" in far.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-i", "World"], "needs its own quotes"),
        (["-i", "5"], "should be a valid string, but it is 5"),
        ([], "--input JSON or --file FILE"),
        (["-i", '"a"', "-f", "x.yml"], "not both"),
        (["-f", "/no/such/file.yml"], "/no/such/file.yml: No such file"),
    ],
)
def test_wrong_input_starts_nothing(ops: Shell, arguments: list[str], told: str) -> None:
    done = ops("run", "TestWorkflow", *arguments)
    assert (done.status, done.out) == (WRONG, "") and told in done.err, done.err


def test_wrong_specs_name_file_line_and_field(ops: Shell) -> None:
    good = WHOLE.format(ops.folder)
    cases = {
        good.replace("content", "contnet"): "spec.yml:4: resources[0].contnet: there is no such",
        good + "host: other\n": "spec.yml:5: host: stands twice, first in line 1",
        good.replace("host: local", "host: [1"): "spec.yml:2:10: is not YAML",
        good.replace("content: x", "mode: 420"): "spec.yml:4: resources[0].mode",
        "": "spec.yml: is empty",
    }
    for text, told in cases.items():
        (ops.folder / "spec.yml").write_text(text)
        done = ops("run", "ProvisionServer", "-f", "spec.yml")
        assert (done.status, done.out) == (WRONG, ""), text
        assert told in done.err, done.err
    assert not (ops.folder / "made").exists()


def test_a_spec_from_standard_input(ops: Shell) -> None:
    done = ops("run", "ProvisionServer", "-f", "-", stdin="host: local\nresources: []\n")
    assert done.status == WRONG and "standard input:2: resources" in done.err, done.err


def test_a_file_that_is_no_text(ops: Shell) -> None:
    (ops.folder / "spec.yml").write_bytes(b"host: \xff\xfe")
    done = ops("run", "ProvisionServer", "-f", "spec.yml")
    assert done.status == WRONG and "spec.yml: is not UTF-8 text (byte 6)" in done.err


def test_a_folder_is_no_file(ops: Shell) -> None:
    done = ops("run", "ProvisionServer", "-f", str(ops.folder))
    assert done.status == WRONG and f"{ops.folder}: Is a directory" in done.err


def test_an_unreachable_server_names_the_variable(shell: Shell) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        done = shell("runs", "list", TEMPORAL_ADDRESS=address)
    assert (done.status, done.out) == (UNREACHABLE, "")
    assert address in done.err and "TEMPORAL_ADDRESS" in done.err
    assert "Traceback" not in done.err


def test_an_address_that_is_none_names_the_variable(shell: Shell) -> None:
    done = shell("runs", "list", TEMPORAL_ADDRESS="somewhere")
    assert done.status == WRONG
    assert "TEMPORAL_ADDRESS = 'somewhere'" in done.err and "host:port" in done.err


def test_a_namespace_that_is_not_there_names_the_variable(ops: Shell) -> None:
    for command in (["runs", "list"], ["run", "TestWorkflow", "-i", '"x"'], ["runs", "show", "x"]):
        done = ops(*command, TEMPORAL_NAMESPACE="nowhere")
        assert done.status == UNREACHABLE, done.err
        assert "'nowhere'" in done.err and "TEMPORAL_NAMESPACE" in done.err


def test_a_worker_without_a_server_says_what_to_set(shell: Shell, island: list[str]) -> None:
    shell.inside = island
    done = shell("worker")
    assert done.status == UNREACHABLE
    assert "TEMPORAL_ADDRESS" in done.err and "temporal-ops up" in done.err


def test_help_of_each_command_fits_80_columns_and_cuts_nothing(shell: Shell) -> None:
    commands = ["up", "worker", "run", "new", "check", "list", "config", "runs", "lab"]
    below = [["runs", name] for name in ("list", "show", "cancel", "terminate")]
    below += [["lab", name] for name in ("up", "ls", "ssh", "down")]
    for command in [[], *([name] for name in commands), *below]:
        done = shell(*command, "--help", COLUMNS="80")
        assert done.status == DONE
        assert max(map(len, done.out.splitlines())) <= 80
        listed = done.out.partition("Commands:")[2]
        assert "..." not in listed, f"cut off in the list of commands:\n{listed}"
    assert all(f"\n  {name} " in shell("--help").out for name in commands)


def test_no_wait_is_done_by_a_worker_that_comes_later(ops: Shell, queue: str) -> None:
    go = ops.folder / "go"
    started = ops("run", "Patient", "-i", f'"{go}"', "--no-wait", TEMPORAL_TASK_QUEUE=queue)
    assert started.status == DONE and started.out.startswith("Patient-")
    run_id = started.out.strip()
    ops.start("worker", TEMPORAL_TASK_QUEUE=queue).says("serves")
    following = ops.start("run", "Patient", "-i", '"of no account"', "--id", run_id)
    following.says("wait_for_file web1 1/3 waiting")
    go.write_text("")
    assert following.ends() == DONE and following.out == "waited\n", "it is the one that ran"
