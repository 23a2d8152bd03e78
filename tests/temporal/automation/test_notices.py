"""People are told: over real HTTP and real mail, and the target's secret goes nowhere else."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import logging
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import (
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleSpec,
    WorkflowFailureError,
    WorkflowHandle,
)
from trial.models import Call

from temporal.activities.automation import notices
from temporal.shared.secrets import redactor
from temporal.shared.specs.automation import Provisioned
from temporal.shared.specs.automation.notices import Notice, Notified
from temporal.shared.specs.automation.outcome import FleetReport
from temporal.shared.specs.automation.provisioning import FleetSpec
from temporal.shared.specs.automation.rollout import Word
from temporal.testing import Environment
from tests.temporal.automation.listening import Mail, Web, mail, web
from tests.temporal.support import until, until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")
GONE = {"address": "127.0.0.1", "port": 1, "user": "root", "alias": "gone"}


@pytest.fixture
def hook() -> Iterator[Web]:
    with web() as listening:
        yield listening


@pytest.fixture
def letters() -> Iterator[Mail]:
    with mail() as listening:
        yield listening


@pytest.fixture
def token() -> str:
    return f"tOk{uuid.uuid4().hex}"


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """All that reaches the root logger, as a worker writes it at its most talkative: unredacted.

    Not pytest's: that listens to loggers, too, which pass nothing on."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.NOTSET + 1)
    yield text
    root.removeHandler(handler)
    root.setLevel(level)


def notice(*targets: str, **more: Any) -> Notice:
    fields: dict[str, Any] = {"title": "web stopped", "body": "2 of 3 <failed>\nlook & see"}
    return Notice(targets=targets, **{**fields, **more})


async def sent(env: Environment, notice: Notice) -> tuple[Notified, bytes]:
    """What the activity says, and all that the server keeps of the run."""
    call = Call(activity="notify", args=[notice.model_dump(mode="json")])
    run = await env.start("CallActivity", call)
    result = Notified.model_validate(await run.result())
    return result, await kept(run)


async def kept(run: WorkflowHandle[Any, Any]) -> bytes:
    return b"".join([event.SerializeToString() async for event in run.fetch_history_events()])


def bodies(hook: Web) -> list[dict[str, Any]]:
    return [json.loads(each.body) for each in hook.asked]


async def test_a_webhook_and_a_mailbox_get_all_of_it(
    env: Environment,
    hook: Web,
    letters: Mail,
    token: str,
    monkeypatch: pytest.MonkeyPatch,
    logged: io.StringIO,
    tmp_path: Path,
) -> None:
    hook.answers[f"/in/{token}"] = (200, "")
    monkeypatch.setenv("OPS_HOOK", f"json://127.0.0.1:{hook.port}/in/{token}")
    (tmp_path / "mail").write_text(
        f"mailto://ops:{token}@127.0.0.1:{letters.port}"
        "?mode=insecure&from=ops@example.org&to=night@example.org\n"
    )
    told, history = await sent(
        env, notice("env://OPS_HOOK", f"file://{tmp_path}/mail", kind="failure")
    )
    assert told == Notified(sent=2)
    assert [(each["title"], each["message"], each["type"]) for each in bodies(hook)] == [
        ("web stopped", "2 of 3 <failed>\nlook & see", "failure")
    ]
    (letter,) = letters.messages
    assert letter["Subject"] == "web stopped" and "ops@example.org" in letter["From"]
    assert letters.recipients == ["TO:<night@example.org>"]
    assert token in base64.b64decode(letters.logins[0].removeprefix("PLAIN ")).decode()
    plain = letter.get_body(("plain",))
    assert plain is not None and "2 of 3 <failed>\nlook & see" in plain.get_content().replace(
        "\r\n", "\n"
    )
    assert token.encode() not in history and token not in logged.getvalue()


async def test_a_target_that_cannot_be_told_is_a_result_and_the_others_are_told(
    env: Environment,
    hook: Web,
    token: str,
    monkeypatch: pytest.MonkeyPatch,
    logged: io.StringIO,
) -> None:
    hook.answers["/good"] = (200, "")
    targets = {
        "GOOD": f"json://127.0.0.1:{hook.port}/good",
        "REFUSED": f"json://ops:{token}@127.0.0.1:{hook.port}/in?wait=0",
        "CLOSED": f"json://127.0.0.1:1/{token}?wait=0",
        "HOSTED": f"json://{token}/?wait=0",
        "HALF": f"slack://{token}",
        "NONSENSE": f"this is {token}",
        "UNKNOWN": f"nosuch://{token}@host/",
    }
    for name, url in targets.items():
        monkeypatch.setenv(f"OPS_{name}", url)
    names = [f"env://OPS_{name}" for name in (*targets, "ABSENT")]
    told, history = await sent(env, notice(*names))
    assert told.sent == 1 and len(told.failed) == 7
    said = {each.partition(": ")[0].removeprefix("env://OPS_"): each for each in told.failed}
    assert "JSON: " in said["REFUSED"] and "404" in said["REFUSED"]
    assert "onnection" in said["CLOSED"] and "127.0.0.1" in said["CLOSED"]
    assert said["HOSTED"].endswith("notification to [secret env://OPS_HOSTED].")
    assert "no complete slack:// URL" in said["HALF"]
    assert "no URL that Apprise knows" in said["NONSENSE"]
    assert "no URL that Apprise knows" in said["UNKNOWN"]
    assert "no variable OPS_ABSENT" in said["ABSENT"]
    assert len([each for each in hook.asked if each.path == "/in"]) == 3, "it is tried three times"
    assert len([each for each in hook.asked if each.path == "/good"]) == 1
    assert token.encode() not in history and token not in logged.getvalue()
    assert token not in redactor.redact(f"POST /in/{token} HTTP/1.1"), "nor if others log it"
    assert "a notification was not sent: env://OPS_CLOSED" in logged.getvalue()


async def test_a_target_that_never_answers_is_given_up(
    env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv(
            "OPS_SILENT", f"json://127.0.0.1:{silent.getsockname()[1]}/?rto=3&retry=0"
        )
        told, _ = await sent(env, notice("env://OPS_SILENT"))
    assert told.sent == 0 and "did not finish within" in told.failed[0]


def fleet(*hosts: Any, file: Path, **more: Any) -> FleetSpec:
    shape = {"resources": [{"file": str(file), "content": "x"}], **more}
    return FleetSpec.model_validate(FleetSpec.of(shape, [{"host": each} for each in hosts]))


async def scheduled(run: WorkflowHandle[Any, Any]) -> list[str]:
    history = await run.fetch_history()
    kind = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    return [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in history.events
        if event.event_type == kind
    ]


async def test_a_fleet_that_fails_says_so_and_one_that_ends_well_only_if_asked(
    env: Environment, hook: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook.answers["/"] = (200, "")
    monkeypatch.setenv("OPS_HOOK", f"json://127.0.0.1:{hook.port}/")
    bad = await env.start(
        "ProvisionFleet", fleet(GONE, "local", file=tmp_path / "x", notify="env://OPS_HOOK")
    )
    with pytest.raises(WorkflowFailureError):
        await bad.result()
    (said,) = bodies(hook)
    assert said["title"] == "ProvisionFleet failed: stopped: 1 hosts failed, 0 may"
    assert said["type"] == "failure" and "! gone: " in said["message"]
    assert f"temporal-ops runs show {bad.id}" in said["message"]
    good = fleet("local", file=tmp_path / "x", notify="env://OPS_HOOK")
    quiet = await env.start("ProvisionFleet", good)
    await quiet.result()
    assert await scheduled(quiet) == ["converge_member"] and len(hook.asked) == 1
    notify = {"targets": ["env://OPS_HOOK"], "on": ["finished"]}
    loud = fleet("local", file=tmp_path / "x", notify=notify)
    await env.run("ProvisionFleet", loud)
    assert bodies(hook)[1]["title"] == "ProvisionFleet finished: 1 unchanged"


async def test_who_was_not_told_stands_in_the_report_and_the_run_ends_as_it_would(
    env: Environment, tmp_path: Path
) -> None:
    notify = {"targets": ["env://OPS_ABSENT"], "on": ["failed", "finished"]}
    report: FleetReport = await env.run(
        "ProvisionFleet", fleet("local", file=tmp_path / "x", notify=notify)
    )
    assert report.state.counts == {"changed": 1}
    assert "? not notified: env://OPS_ABSENT: " in report.render()
    bad = await env.start("ProvisionFleet", fleet(GONE, file=tmp_path / "x", notify=notify))
    with pytest.raises(WorkflowFailureError) as caught:
        await bad.result()
    assert "1 hosts failed, 0 may" in str(caught.value.cause)
    assert "? not notified: env://OPS_ABSENT: " in str(caught.value.cause)


async def test_a_schedule_that_failed_before_says_once_that_it_recovered(
    env: Environment, hook: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook.answers["/"] = (200, "")
    monkeypatch.setenv("OPS_HOOK", f"json://127.0.0.1:{hook.port}/")
    wanted = tmp_path / "folder" / "x"
    command = {"command": f"touch {wanted}", "creates": str(wanted)}
    shape = {"resources": [command], "notify": "env://OPS_HOOK"}
    spec = FleetSpec.model_validate(FleetSpec.of(shape, [{"host": "local"}]))
    name = f"nightly-{uuid.uuid4().hex[:8]}"
    entry = env.ops.registry.workflow("ProvisionFleet")
    action = ScheduleActionStartWorkflow("ProvisionFleet", spec, id=name, task_queue=entry.queue)
    schedule = await env.ops.client.create_schedule(
        name, Schedule(action=action, spec=ScheduleSpec())
    )
    try:

        async def begun(number: int) -> str:
            actions = (await schedule.describe()).info.recent_actions
            if len(actions) < number:
                return ""
            action = actions[-1].action
            assert isinstance(action, ScheduleActionExecutionStartWorkflow)
            return action.workflow_id

        async def known() -> bool:
            return not (await schedule.describe()).info.running_actions

        async def again(number: int) -> None:
            await schedule.trigger()
            run = env.ops.client.get_workflow_handle(await until_async(lambda: begun(number)))
            with contextlib.suppress(WorkflowFailureError):
                await run.result()
            await until_async(known)

        await again(1)
        assert [each["type"] for each in bodies(hook)] == ["failure"]
        wanted.parent.mkdir()
        await again(2)
        assert [each["type"] for each in bodies(hook)] == ["failure", "success"]
        assert bodies(hook)[1]["title"] == "ProvisionFleet recovered: 1 changed"
        await again(3)
        assert len(hook.asked) == 2
    finally:
        await schedule.delete()


async def test_who_may_approve_is_told_that_it_waits(
    env: Environment, hook: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook.answers["/"] = (200, "")
    monkeypatch.setenv("OPS_HOOK", f"json://127.0.0.1:{hook.port}/")
    spec = fleet(
        "local", GONE, file=tmp_path / "x", rollout={"approve": "canary"}, notify="env://OPS_HOOK"
    )
    run = await env.start("ProvisionFleet", spec)
    await until(lambda: hook.asked)
    await run.execute_update("abort", Word(by="ann", why="not today"))
    with pytest.raises(WorkflowFailureError):
        await run.result()
    waits, failed = bodies(hook)
    assert waits["title"].startswith("ProvisionFleet waits: ") and waits["type"] == "warning"
    assert "2 hosts: 1 changed, 1 not begun" in waits["message"]
    assert failed["title"] == "ProvisionFleet failed: aborted by ann: not today"


async def test_one_server_says_how_it_ended(
    env: Environment, hook: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook.answers["/"] = (200, "")
    monkeypatch.setenv("OPS_HOOK", f"json://127.0.0.1:{hook.port}/")
    spec = {
        "host": "local",
        "resources": [{"file": str(tmp_path / "x"), "content": "x"}],
        "notify": {"targets": ["env://OPS_HOOK", "env://OPS_ABSENT"], "on": ["failed", "finished"]},
    }
    done: Provisioned = await env.run("ProvisionServer", spec)
    assert done.report.ok and done.untold[0].startswith("env://OPS_ABSENT: ")
    bad = {**spec, "answers": [{"http": "http://127.0.0.1:1/", "within": 0.1}]}
    run = await env.start("ProvisionServer", bad)
    with pytest.raises(WorkflowFailureError):
        await run.result()
    good, failed = bodies(hook)
    assert good["title"].startswith("ProvisionServer finished: local: ")
    assert failed["title"] == "ProvisionServer failed: local"
    assert "http://127.0.0.1:1/: no answer" in failed["message"]
