"""The Temporal plugin that client, worker and replayer share, so that tests and production agree.

It brings the payload converter, the sandbox settings, and the interceptor that fills in what a
workflow's call left open: timeouts, heartbeat and retry from the activity's own declaration, and the
task queue and the result's type from the registry. What the call says always wins.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from temporalio import workflow
from temporalio.plugin import SimplePlugin
from temporalio.worker import (
    Interceptor,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
    WorkflowRunner,
)

from temporal.payloads import data_converter
from temporal.registry import Registry
from temporal.sandbox import OpsSandboxRunner
from temporal.shared.options import ActivityOptions, effective_options


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
            input.task_queue = filled.queue
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


class Defaults(Interceptor):
    """Fills in what calls leave open. One instance a registry."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._activities = {
            name: _Filled(effective_options(entry.target), entry.queue, entry.ret_type)
            for name, entry in registry.activities.items()
        }
        # Nobody offers it, so a retry cannot help: the first answer ends the activity.
        base = effective_options(None)
        assert base.retry is not None
        never = dataclasses.replace(base.retry, non_retryable_error_types=["NotFoundError"])
        self._unknown = _Filled(dataclasses.replace(base, retry=never), None, None)
        self._inbound: type[WorkflowInboundInterceptor] | None = None

    def activity(self, name: str) -> _Filled:
        """What a call of activity `name` gets; an unknown one goes to the workflow's own queue."""
        return self._activities.get(name, self._unknown)

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        """See base class."""
        if self._inbound is None:
            defaults = self

            class Inbound(WorkflowInboundInterceptor):
                def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                    super().init(_Outbound(outbound, defaults))

            self._inbound = Inbound
        return self._inbound


class OpsPlugin(SimplePlugin):
    """Everything this project adds to Temporal, for one registry.

    Use it on the client; its workers and replayers take it over from there.
    """

    def __init__(self, registry: Registry) -> None:
        super().__init__(
            "temporal-ops",
            data_converter=data_converter,
            interceptors=[Defaults(registry)],
            workflow_runner=functools.partial(_runner, packages=registry.packages),
        )


def _runner(existing: WorkflowRunner | None, *, packages: tuple[str, ...]) -> WorkflowRunner:
    return OpsSandboxRunner.for_packages(packages)
