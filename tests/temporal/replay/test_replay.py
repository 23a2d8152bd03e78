"""The code as it is replays the runs that earlier code began."""

from __future__ import annotations

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from temporal import config, registry
from temporal.plugin import OpsPlugin
from temporal.registry import Registry
from tests.temporal.replay.scenarios import HISTORIES, SCENARIOS, Scenario

RECORD = "`make histories` (python -m tests.temporal.replay.record {})"
ADVICE = """
{workflow} as it is now does not replay a run that earlier code began ({file}).
Runs in flight would stop at this point and wait. Either
- keep the old way for them:
      if workflow.patched("what-changed"):
          ...  # the new way
      else:
          ...  # the old way
  and record the new way as a further scenario in scenarios.py; or
- if no run of the old code can be in flight any more, record anew: """


@workflow.defn(name="TestWorkflow", sandboxed=False)
class Changed:
    @workflow.run
    async def run(self, name: str) -> str:
        await workflow.sleep(1)
        return f"Hello, {name}!"


@workflow.defn(name="TestWorkflow", sandboxed=False)
class Retyped:
    @workflow.run
    async def run(self, name: int) -> str:
        return await workflow.execute_activity("test_activity", str(name), result_type=str)


@pytest.fixture(scope="module")
def known() -> Registry:
    return registry.load(config.load({}))


async def replay(history: WorkflowHistory, known: Registry, workflows: list[type]) -> None:
    replayer = Replayer(workflows=workflows, plugins=[OpsPlugin(known)])
    await replayer.replay_workflow(history)


def kept(scenario: Scenario) -> WorkflowHistory:
    return WorkflowHistory.from_json(
        f"{scenario.workflow}-{scenario.name}", scenario.file.read_text()
    )


def test_no_history_holds_a_path_of_who_recorded_it() -> None:
    for file in HISTORIES.glob("*.json"):
        text = file.read_text()
        assert "stackTrace" not in text and "site-packages" not in text, file.name


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: f"{s.workflow}.{s.name}")
async def test_replays(scenario: Scenario, known: Registry) -> None:
    again = RECORD.format(scenario.workflow)
    if not scenario.file.exists():
        pytest.fail(f"{scenario.file.name} was never recorded: {again}", pytrace=False)
    target = known.workflow(scenario.workflow).target
    try:
        await replay(kept(scenario), known, [target])
    except workflow.NondeterminismError as error:
        said = ADVICE.format(workflow=scenario.workflow, file=scenario.file.name)
        pytest.fail(f"{error}\n{said}{again}", pytrace=False)


def test_every_workflow_has_a_recording(known: Registry) -> None:
    ours = {entry.name for entry in known.workflows.values() if entry.package == "temporal"}
    missing = ours - {scenario.workflow for scenario in SCENARIOS}
    assert not missing, f"add a scenario to scenarios.py for {sorted(missing)}, then {RECORD}"


def test_every_recording_has_a_scenario(known: Registry) -> None:
    left = {file.name for file in HISTORIES.glob("*.json")} - {s.file.name for s in SCENARIOS}
    assert not left, f"no scenario makes {sorted(left)}: remove the file, or run `make histories`"


async def test_a_changed_workflow_is_found(known: Registry) -> None:
    """Or the tests above could not fail."""
    with pytest.raises(workflow.NondeterminismError):
        await replay(kept(SCENARIOS[0]), known, [Changed])


async def test_a_changed_type_says_so(known: Registry) -> None:
    """Without a sandbox as well: the reason, not what the SDK stumbles over afterwards."""
    with pytest.raises(RuntimeError, match="Failed decoding arguments"):
        await replay(kept(SCENARIOS[0]), known, [Retyped])
