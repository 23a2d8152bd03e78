"""Names, queues and arguments of what workflows start; and coroutines that nobody awaits."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .conftest import Plant, Planted

InRun = Callable[..., Planted]

PLANTED = {
    "activity by a mistyped name": (
        "",
        "await workflow.execute_activity('ehco', name)  # expect: unknown-name",
    ),
    "name from a constant": (
        "STEP = 'missing'",
        "await workflow.execute_activity(STEP, name)  # expect: unknown-name",
    ),
    "local activity": (
        "",
        "await workflow.execute_local_activity('nope', name)  # expect: unknown-name",
    ),
    "started, through an alias of the module": (
        "from temporalio import workflow as wf",
        "await wf.start_activity(\n    'nope', name  # expect: unknown-name\n)",
    ),
    "child workflow": (
        "",
        "await workflow.execute_child_workflow('Flwo', name)  # expect: unknown-name",
    ),
    "a workflow taken for an activity": (
        "",
        "await workflow.execute_activity('Flow', name)  # expect: unknown-name",
    ),
    "continue as something that is not there": (
        "",
        "workflow.continue_as_new(name, workflow='Gone')  # expect: unknown-name",
    ),
    "a function that is no activity": (
        "import time\ndef plain(x: str) -> float:\n    return time.time()",
        "await workflow.execute_activity(plain, name)  # expect: unknown-name",
    ),
    "in a helper": (
        "async def step(x: str) -> None:\n"
        "    await workflow.execute_activity('nope', x)  # expect: unknown-name",
        "await step(name)",
    ),
    "too few arguments": (
        "",
        "await workflow.execute_activity('echo')  # expect: wrong-arguments",
    ),
    "too many arguments": (
        "",
        "await workflow.execute_activity(echo, args=[name, 2])  # expect: wrong-arguments",
    ),
    "several arguments without args=": (
        "",
        "await workflow.execute_activity('take', Order(id='1'), 2)  # expect: wrong-arguments",
    ),
    "text for a model": (
        "",
        "await workflow.execute_activity('take', 'order-1')  # expect: wrong-arguments",
    ),
    "an annotated parameter for a model": (
        "",
        "await workflow.execute_activity(take, name)  # expect: wrong-arguments",
    ),
    "None for a model": (
        "",
        "await workflow.execute_activity('take', None)  # expect: wrong-arguments",
    ),
    "number for text": (
        "",
        "await workflow.execute_activity(echo, 5)  # expect: wrong-arguments",
    ),
    "another model, from a local variable": (
        "from pydantic import BaseModel\nclass Invoice(BaseModel):\n    id: str",
        "invoice = Invoice(id='1')\n"
        "await workflow.execute_activity(take, invoice)  # expect: wrong-arguments",
    ),
    "the second of several": (
        "",
        "await workflow.execute_activity(\n    'take', args=[Order(id='1'), 'many']"
        "  # expect: wrong-arguments\n)",
    ),
    "child workflow's input": (
        "",
        "await workflow.execute_child_workflow(Flow.run, ['a'])  # expect: wrong-arguments",
    ),
    "continue as new without the input": (
        "",
        "workflow.continue_as_new()  # expect: wrong-arguments",
    ),
    "queue on which it is not offered": (
        "",
        "await workflow.execute_activity('echo', name, task_queue='gpu')  # expect: wrong-queue",
    ),
    "activity never awaited": (
        "",
        "workflow.execute_activity('echo', name)  # expect: never-awaited",
    ),
    "kept and forgotten": (
        "",
        "step = workflow.execute_activity('echo', name)  # expect: never-awaited",
    ),
    "helper never awaited": (
        "async def step() -> None:\n    await workflow.sleep(1)",
        "step()  # expect: never-awaited",
    ),
    "timer never awaited": ("import asyncio", "asyncio.sleep(3)  # expect: never-awaited"),
}

INNOCENT = {
    "by string, by function, with and without options": (
        "from datetime import timedelta",
        "await workflow.execute_activity('echo', name)\n"
        "await workflow.execute_activity(echo, name, start_to_close_timeout=timedelta(seconds=1))\n"
        "await workflow.execute_activity('echo', arg=name)\n"
        "await workflow.execute_activity('take', args=[Order(id='1'), 2])\n"
        "await workflow.execute_activity(take, Order(id='1'))",
    ),
    "named at run time": ("", "await workflow.execute_activity(f'{name}_step', name)"),
    "the queue on which it is offered": (
        "QUEUE = 'test-task-queue'",
        "await workflow.execute_activity('echo', name, task_queue=QUEUE)\n"
        "await workflow.execute_activity('echo', name, task_queue=workflow.info().task_queue)",
    ),
    "options and arguments that cannot be told": (
        "",
        "options = {}\nargs = [name]\nawait workflow.execute_activity('echo', **options)\n"
        "await workflow.execute_activity('echo', args=args)\n"
        "await workflow.execute_activity(*args)\nawait workflow.execute_activity('take', *args, *args)",
    ),
    "what JSON makes fit": (
        "",
        "await workflow.execute_activity('take', {'id': '1'})\n"
        "await workflow.execute_activity('take', args=[Order(id='1'), '3'])",
    ),
    "a subclass": (
        "class Rush(Order):\n    pass",
        "await workflow.execute_activity('take', Rush(id='1'))",
    ),
    "a value of unknown type": (
        "import json",
        "value = json.loads(name)\nawait workflow.execute_activity('take', value)\n"
        "order = await workflow.execute_activity('echo', name)\n"
        "await workflow.execute_activity('take', order)",
    ),
    "one of several types": (
        "",
        "x: Order | str = name\nawait workflow.execute_activity('take', x)",
    ),
    "a text that says its type as an alias": (
        "from typing import Annotated\nTitle = Annotated[str, 'x']\n"
        "def title() -> Title:\n    return 'a'",
        "await workflow.execute_activity('echo', title())",
    ),
    "awaited later, together": (
        "import asyncio",
        "one = workflow.execute_activity('echo', name)\nhandle = workflow.start_activity('echo', name)\n"
        "task = asyncio.create_task(workflow.execute_activity('echo', name))\n"
        "await asyncio.gather(one, handle, task)",
    ),
    "returned": ("", "return workflow.execute_activity('echo', name)"),
    "child and continue as new": (
        "",
        "await workflow.execute_child_workflow('Flow', name)\n"
        "await workflow.execute_child_workflow(Flow.run, name)\n"
        "if name:\n    workflow.continue_as_new(name)",
    ),
    "another object with a method of that name": (
        "class Client:\n    def execute_activity(self, name: str) -> None: ...",
        "Client().execute_activity('nothing')",
    ),
}


@pytest.mark.parametrize("case", PLANTED)
def test_planted(case: str, in_run: InRun) -> None:
    top, body = PLANTED[case]
    planted = in_run(body, top)
    assert planted.expected, "the case says nowhere what must be found"
    assert planted.places(planted.findings()) == planted.expected


@pytest.mark.parametrize("case", INNOCENT)
def test_innocent(case: str, in_run: InRun) -> None:
    top, body = INNOCENT[case]
    assert in_run(body, top).findings() == []


def test_near_names_are_offered(in_run: InRun) -> None:
    (finding,) = in_run("await workflow.execute_activity('ehco', name)").findings()
    assert "Did you mean 'echo'?" in finding.instead
    assert "workflow Flow" in finding.message


def test_an_activity_that_exists_but_is_not_registered(plant: Plant) -> None:
    planted = plant(
        {
            "__init__.py": "from PKG.flow import Flow\nWORKFLOWS = [Flow]\nACTIVITIES = []\n",
            "flow.py": """
                from temporalio import activity, workflow


                @activity.defn
                async def forgotten(text: str) -> str:
                    return text


                @workflow.defn
                class Flow:
                    @workflow.run
                    async def run(self, name: str) -> str:
                        return await workflow.execute_activity(forgotten, name)  # expect: unknown-name
            """,
        }
    )
    findings = planted.findings()
    assert planted.places(findings) == planted.expected
    assert "ACTIVITIES" in findings[0].instead


def test_activities_that_are_methods_and_callable_classes(plant: Plant) -> None:
    planted = plant(
        {
            "__init__.py": """
                from PKG.flow import Flow
                from PKG.act import Bank, Shout

                WORKFLOWS = [Flow]
                ACTIVITIES = [Bank("db").pay, Shout()]
            """,
            "act.py": """
                from temporalio import activity


                class Bank:
                    def __init__(self, db: str) -> None:
                        self.db = db

                    @activity.defn(name="pay_bill")
                    async def pay(self, amount: int) -> None: ...


                @activity.defn
                class Shout:
                    async def __call__(self, text: str) -> str:
                        return text.upper()
            """,
            "flow.py": """
                from temporalio import workflow

                from PKG.act import Bank


                @workflow.defn
                class Flow:
                    @workflow.run
                    async def run(self, name: str) -> None:
                        await workflow.execute_activity_method(Bank.pay, 3)
                        await workflow.execute_activity("pay_bill", 3)
                        pay = Bank.pay
                        await workflow.execute_activity_method(
                            pay, args=[3, 4]  # expect: wrong-arguments
                        )
                        await workflow.execute_activity("pay", 3)  # expect: unknown-name
            """,
        }
    )
    findings = planted.findings()
    assert planted.places(findings) == planted.expected


@pytest.fixture
def two_queues(plant: Plant) -> Planted:
    return plant(
        {
            "workflows/__init__.py": "from PKG.workflows.plain import Flow\nWORKFLOWS = [Flow]\n",
            "workflows/plain.py": """
                from temporalio import workflow


                @workflow.defn
                class Flow:
                    @workflow.run
                    async def run(self, name: str) -> None:
                        await workflow.execute_activity("train", name)
                        await workflow.execute_activity("train", name, task_queue="gpu")
                        await workflow.execute_activity(
                            "train", name, task_queue="cpu"  # expect: wrong-queue
                        )
                        await workflow.execute_local_activity("train", name)  # expect: wrong-queue
            """,
            "activities/__init__.py": """
                from PKG.activities.ml.train import train
                ACTIVITIES = [train]
            """,
            "activities/ml/train.py": """
                from temporalio import activity


                @activity.defn
                async def train(name: str) -> None: ...
            """,
        }
    )


def test_a_domain_on_a_queue_of_its_own(two_queues: Planted) -> None:
    found = two_queues.findings(TEMPORAL_TASK_QUEUE_ML="gpu")
    assert two_queues.places(found) == two_queues.expected
