"""The Temporal plugin that client, worker and replayer share, so that tests and production agree.

It brings the payload converter, the sandbox settings, and the interceptor that fills in what a
workflow's call left open: timeouts, heartbeat and retry from the activity's own declaration, and the
task queue and the result's type from the registry. What the call says always wins.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import Any

from temporalio import workflow
from temporalio.converter import ExternalStorage
from temporalio.plugin import SimplePlugin
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    ReplayerConfig,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
    WorkerConfig,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
    WorkflowRunner,
)

from temporal.payloads import BadPayload, data_converter
from temporal.registry import Registry
from temporal.sandbox import OpsSandboxRunner, OpsUnsandboxedRunner
from temporal.shared.errors import Permanent, UnknownName
from temporal.shared.options import ActivityOptions, effective_options


class UnknownChild(Permanent):
    """A workflow starts a child that is not registered, and names no queue of others for it."""


@dataclasses.dataclass(frozen=True)
class _Filled:
    """What a call of one activity gets where it says nothing."""

    options: ActivityOptions
    queue: str | None
    ret_type: Any


class _Outbound(WorkflowOutboundInterceptor):
    def __init__(self, next: WorkflowOutboundInterceptor, defaults: Defaults) -> None:
        super().__init__(next)
        self._defaults = defaults

    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        filled = self._defaults.activity(input.activity)
        _fill_times(input, filled)
        if input.heartbeat_timeout is None:
            input.heartbeat_timeout = filled.options.heartbeat
        if input.task_queue is None:
            input.task_queue = filled.queue or self._defaults.answering(workflow.info().task_queue)
        return super().start_activity(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[Any]:
        _fill_times(input, self._defaults.activity(input.activity))
        return super().start_local_activity(input)

    async def start_child_workflow(
        self, input: StartChildWorkflowInput
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        entry = self._defaults.registry.workflows.get(input.workflow)
        if entry:
            input.task_queue = input.task_queue or entry.queue
            input.ret_type = input.ret_type or entry.ret_type
        elif input.task_queue is None and not workflow.unsafe.is_replaying():
            # Its first task would fail on every worker, for ever, and this run would wait as long.
            try:
                self._defaults.registry.workflow(input.workflow)
            except UnknownName as error:
                raise UnknownChild(str(error)) from None
        return await super().start_child_workflow(input)


def _fill_times(input: StartActivityInput | StartLocalActivityInput, filled: _Filled) -> None:
    options = filled.options
    if input.start_to_close_timeout is None and input.schedule_to_close_timeout is None:
        input.start_to_close_timeout = options.start_to_close
        input.schedule_to_close_timeout = options.schedule_to_close
    if input.schedule_to_start_timeout is None:
        input.schedule_to_start_timeout = options.schedule_to_start
    if input.retry_policy is None:
        input.retry_policy = options.retry
    if input.ret_type is None:
        input.ret_type = filled.ret_type


def _refuse_wrong_count(input: ExecuteWorkflowInput) -> None:
    """Ends a run that a foreign client started with too few or too many values: Python's TypeError
    would make its first task fail for ever. In a replay it was the code that changed, so it waits.
    """
    try:
        inspect.signature(input.run_fn).bind(None, *input.args)
    except TypeError as error:
        if not workflow.unsafe.is_replaying():
            name = workflow.info().workflow_type
            raise BadPayload(
                f"the input of workflow {name} does not fit: {error} "
                f"({len(input.args)} value(s) were given)"
            ) from None


class Defaults(Interceptor):
    """Fills in what calls leave open. One instance a registry."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._activities = {
            name: _Filled(effective_options(entry.target), entry.queue, entry.ret_type)
            for name, entry in registry.activities.items()
        }
        self._queues = sorted({entry.queue for entry in registry.activities.values()})
        # Nobody offers it, so a retry cannot help: the first answer ends the activity.
        base = effective_options(None)
        assert base.retry is not None
        never = dataclasses.replace(base.retry, non_retryable_error_types=["NotFoundError"])
        self._unknown = _Filled(dataclasses.replace(base, retry=never), None, None)
        self._inbound: type[WorkflowInboundInterceptor] | None = None

    def activity(self, name: str) -> _Filled:
        """What a call of activity `name` gets."""
        return self._activities.get(name, self._unknown)

    def answering(self, queue: str) -> str:
        """A queue whose workers take activities, if only to say that they do not know this one:
        `queue` if there are any on it. On a queue of workflows alone nobody would ever answer."""
        return queue if queue in self._queues or not self._queues else self._queues[0]

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        """See base class."""
        if self._inbound is None:
            defaults = self

            class Inbound(WorkflowInboundInterceptor):
                def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                    super().init(_Outbound(outbound, defaults))

                async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
                    _refuse_wrong_count(input)
                    return await super().execute_workflow(input)

            self._inbound = Inbound
        return self._inbound


class OpsPlugin(SimplePlugin):
    """Everything this project adds to Temporal, for one registry.

    Use it on the client; its workers and replayers take it over from there.

    Args:
        kept: where values go that are too big for a history.
    """

    def __init__(self, registry: Registry, kept: ExternalStorage | None = None) -> None:
        super().__init__(
            "temporal-ops",
            data_converter=data_converter(kept),
            interceptors=[Defaults(registry)],
            workflow_runner=functools.partial(_runner, packages=registry.packages),
        )

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """See base class."""
        config["unsandboxed_workflow_runner"] = OpsUnsandboxedRunner()
        return super().configure_worker(config)

    def configure_replayer(self, config: ReplayerConfig) -> ReplayerConfig:
        """See base class."""
        config["unsandboxed_workflow_runner"] = OpsUnsandboxedRunner()
        return super().configure_replayer(config)


def _runner(existing: WorkflowRunner | None, *, packages: tuple[str, ...]) -> WorkflowRunner:
    return OpsSandboxRunner.for_packages(packages)
