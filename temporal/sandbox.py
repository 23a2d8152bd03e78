"""The SDK's workflow sandbox, set up for packages in which one `__init__` registers everything.

The sandbox imports a workflow's module anew for each run, and with it the parent packages. Here the
parent `<package>.workflows` imports every workflow there is, so each run would pay for all of them.
So the runner puts an empty package in its place: only the workflow's own module is loaded, still
under every restriction of the SDK.

Passed through, that is loaded once, are the things without state of a run: `shared` and `activities`
of each package (workflows may name activity functions without `imports_passed_through`), and the
types of converge.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import ModuleType

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import UnsandboxedWorkflowRunner, WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.worker.workflow_sandbox._runner import _Instance

from temporal.shared.replaying import telling


class OpsUnsandboxedRunner(UnsandboxedWorkflowRunner):
    """The SDK's, for workflows that ask for no sandbox."""

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """See base class."""
        instance = super().create_instance(det)
        activate = instance.activate

        def activate_telling(act: WorkflowActivation) -> WorkflowActivationCompletion:
            with telling(act.is_replaying):
                return activate(act)

        instance.activate = activate_telling  # type: ignore[method-assign]
        return instance


@dataclass(frozen=True)
class OpsSandboxRunner(SandboxedWorkflowRunner):
    """The SDK's sandboxed runner that does not load every workflow for each run."""

    hollow: tuple[str, ...] = field(default=())

    @classmethod
    def for_packages(cls, packages: tuple[str, ...]) -> OpsSandboxRunner:
        """A runner for the workflows of `packages` (import names, this project's included)."""
        passed = [f"{name}.{room}" for name in packages for room in ("shared", "activities")]
        restrictions = SandboxRestrictions.default.with_passthrough_modules("converge", *passed)
        hollow = tuple(f"{name}.workflows" for name in packages)
        return cls(restrictions=restrictions, runner_class=UnsandboxedWorkflowRunner, hollow=hollow)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """See base class."""
        return _HollowInstance(det, self)


class _HollowInstance(_Instance):
    def __init__(self, details: WorkflowInstanceDetails, runner: OpsSandboxRunner) -> None:
        self._hollow = runner.hollow
        super().__init__(details, runner.runner_class, runner.restrictions)

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        """See base class."""
        with telling(act.is_replaying):
            return super().activate(act)

    def _create_instance(self) -> None:
        for name in self._hollow:
            if name in sys.modules and hasattr(sys.modules[name], "__path__"):
                self.importer.new_modules[name] = _hollow_copy(sys.modules[name])
        super()._create_instance()


def _hollow_copy(package: ModuleType) -> ModuleType:
    copy = ModuleType(package.__name__, package.__doc__)
    copy.__path__ = package.__path__
    copy.__file__ = package.__file__
    copy.__spec__ = package.__spec__
    copy.__package__ = package.__name__
    copy.__dict__["WORKFLOWS"] = []
    return copy
