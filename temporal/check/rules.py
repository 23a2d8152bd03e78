"""Every rule, in one table: what SARIF lists, what the documentation prints, what a finding cites."""

from __future__ import annotations

from dataclasses import dataclass

from temporal.check.findings import Severity


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        id: stable, kebab-case; what a suppression comment names.
        title: what is wrong, in a few words.
        why: what happens at run time if it is left so.
        instead: what to write; a finding may say it more exactly.
    """

    id: str
    severity: Severity
    title: str
    why: str
    instead: str


_TABLE = (
    Rule(
        "registry",
        "error",
        "Something is not registered as it should be",
        "A worker offers only what is registered, once, under a name of its own.",
        "Register it in `workflows/__init__.py` or `activities/__init__.py`.",
    ),
    Rule(
        "unknown-name",
        "error",
        "A workflow names an activity or workflow that does not exist",
        "No worker will ever take the task, so the run waits until its timeout, or for ever.",
        "Name one that is registered.",
    ),
    Rule(
        "wrong-queue",
        "error",
        "A call is sent to a queue on which nobody offers its target",
        "The task stays on that queue until its timeout; a local activity fails its workflow task.",
        "Leave `task_queue` out: the call is routed to the queue on which its target is offered.",
    ),
    Rule(
        "wrong-arguments",
        "error",
        "A call gives its target something that it does not take",
        "The activity or child workflow fails before its first line, and is retried in vain.",
        "Pass what the signature asks for; several arguments as `args=[first, second]`.",
    ),
    Rule(
        "workflow-calls-activity",
        "error",
        "A workflow calls an activity like a function",
        "Its I/O then runs inside the workflow: without a retry or a timeout, and again on replay.",
        "`await workflow.execute_activity(...)`.",
    ),
    Rule(
        "never-awaited",
        "error",
        "A coroutine is neither awaited nor returned",
        "Nothing starts until it is awaited: the activity or timer never runs.",
        "Put `await` before it, or keep it as a task that is awaited later.",
    ),
    Rule(
        "workflow-clock",
        "error",
        "Workflow code reads the clock",
        "On replay the clock says something else, and the run takes another way than its history.",
        "`workflow.now()`, or `workflow.time()` for seconds.",
    ),
    Rule(
        "workflow-random",
        "error",
        "Workflow code uses a source of chance",
        "On replay the value is another one, and the run takes another way than its history.",
        "`workflow.random()`, or `workflow.uuid4()` for an id.",
    ),
    Rule(
        "workflow-files",
        "error",
        "Workflow code uses the file system",
        "The next worker to go on with the run has other files.",
        "An activity that reads or writes, and returns what the workflow needs.",
    ),
    Rule(
        "workflow-network",
        "error",
        "Workflow code uses the network",
        "It is repeated on each replay, blocks the worker, and is retried by nobody.",
        "An activity that makes the request.",
    ),
    Rule(
        "workflow-process",
        "error",
        "Workflow code starts or signals a process",
        "It is repeated on each replay, on whichever machine the worker then runs.",
        "An activity that runs the command.",
    ),
    Rule(
        "workflow-environment",
        "error",
        "Workflow code reads the environment of its machine",
        "The next worker to go on with the run may have another environment.",
        "Put the value into the workflow's input, or read it in an activity.",
    ),
    Rule(
        "workflow-sleep",
        "error",
        "Workflow code blocks in time.sleep",
        "It stops every run on this worker, and the SDK takes the workflow task for deadlocked.",
        "`await workflow.sleep(...)` or `await asyncio.sleep(...)`: a durable timer.",
    ),
    Rule(
        "workflow-threads",
        "error",
        "Workflow code uses threads or processes",
        "They run outside of the workflow's event loop, in an order that no history records.",
        "`asyncio.gather` or `asyncio.create_task` for concurrency; an activity for blocking work.",
    ),
    Rule(
        "workflow-asyncio",
        "error",
        "Workflow code uses a part of asyncio that has no fixed order or needs a loop of its own",
        "`asyncio.wait` and `asyncio.as_completed` keep sets inside, whose order differs on replay; "
        "the workflow's loop offers no other loop, connection or server.",
        "`workflow.wait`, `workflow.as_completed` or `asyncio.gather`.",
    ),
    Rule(
        "workflow-set-order",
        "error",
        "Workflow code depends on the order of a set",
        "A set of strings has another order in each process, so a replay goes through it otherwise.",
        "`sorted(...)`, or a list or dict, which keep their order.",
    ),
    Rule(
        "workflow-global-state",
        "error",
        "Workflow code changes state that outlives the run",
        "Runs on the same worker see each other's values, and a replay sees values of the future.",
        "Keep it on `self`.",
    ),
    Rule(
        "workflow-logging",
        "warning",
        "Workflow code prints, or logs around workflow.logger",
        "Each replay says it again, and without workflow and run id.",
        "`workflow.logger`.",
    ),
    Rule(
        "heartbeat-never-sent",
        "error",
        "An activity declares a heartbeat but never beats",
        "The server takes each attempt for dead after that time, and starts it again.",
        "`beat(Progress(...))` or `activity.heartbeat()` in its loop, or no `heartbeat=`.",
    ),
    Rule(
        "blocking-in-async",
        "error",
        "An async activity blocks the event loop",
        "All activities, heartbeats and workflow tasks of the worker stand still meanwhile. Reading "
        "or writing one local file takes microseconds and is not reported; walking a tree is.",
        "`await asyncio.to_thread(...)`, the async counterpart, or a plain `def` activity, which "
        "runs in a thread.",
    ),
    Rule(
        "untyped-input",
        "note",
        "A parameter of a workflow or activity has no annotation",
        "Without a type the input is not checked, and a model arrives as a plain dict.",
        "Annotate it: one pydantic model, or a plain value such as `str`.",
    ),
    Rule(
        "bad-suppression",
        "error",
        "A suppression comment names no reason or no known rule",
        "Nobody can tell later whether it still holds. It suppresses nothing.",
        "`# check: ignore[rule-id] the reason`.",
    ),
)

RULES: dict[str, Rule] = {rule.id: rule for rule in _TABLE}
"""Every rule by its id, in the order in which they are documented."""
