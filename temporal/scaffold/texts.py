"""What `temporal-ops new` writes: a workflow, an activity, a test, and the lists they go into."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Names:
    package: str
    domain: str
    name: str
    workflow: str
    activity: str

    @property
    def workflow_module(self) -> str:
        return f"{self.package}.workflows.{self.domain}.{self.name}"

    @property
    def activity_module(self) -> str:
        return f"{self.package}.activities.{self.domain}.{self.name}"


def class_name(name: str) -> str:
    """
    >>> class_name("my_workflow")
    'MyWorkflow'
    """
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def workflow(names: Names) -> str:
    return f'''"""{names.workflow}: decides what is done. What does it, is an activity."""

from temporalio import workflow


@workflow.defn
class {names.workflow}:
    """Has `text` processed by one activity."""

    @workflow.run
    async def run(self, text: str) -> str:
        result: str = await workflow.execute_activity("{names.activity}", text)
        return result
'''


def activity(names: Names) -> str:
    imports = ["from temporalio import activity", "", "from temporal.shared import options"]
    if names.package != "temporal":  # there it is one of the third parties, and sorts among them
        imports = [imports[2], imports[0]]
    listed = "\n".join(imports)
    return f'''"""Activities of {names.workflow}: what it decides, they do, I/O and all."""

from datetime import timedelta

{listed}


@activity.defn
@options(start_to_close=timedelta(minutes=5))
async def {names.activity}(text: str) -> str:
    """`Processed: <text>`"""
    return f"Processed: {{text}}"
'''


def test(names: Names) -> str:
    own = names.package != "temporal"
    settings = f'{{"TEMPORAL_MODULES": "{names.package}"}}' if own else ""
    return f'''"""{names.workflow}, on a real Temporal server of its own."""

import asyncio

from temporal.testing import environment


async def processed(text: str) -> str:
    async with environment({settings}) as env:
        result: str = await env.run("{names.workflow}", text)
        return result


def test_{names.name}() -> None:
    assert asyncio.run(processed("World")) == "Processed: World"
'''


WORKFLOWS = '''"""Every workflow, registered. Add yours at the end: import it, then append it."""

WORKFLOWS: list[type] = []
'''
ACTIVITIES = '''"""Every activity, registered. Add yours at the end: import it, then append it."""

from collections.abc import Callable
from typing import Any

ACTIVITIES: list[Callable[..., Any]] = []
'''
