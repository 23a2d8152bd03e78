"""Planted sources of non-determinism, and what looks like them and is none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .conftest import Planted

InRun = Callable[..., Planted]

PLANTED = {
    "clock by alias of a module": (
        "import datetime as dt",
        "dt.datetime.now(dt.timezone.utc)  # expect: workflow-clock",
    ),
    "clock by renamed import": (
        "from time import time as now",
        "now()  # expect: workflow-clock",
    ),
    "clock under a name of its own": (
        "import time\ntick = time.perf_counter",
        "tick()  # expect: workflow-clock",
    ),
    "today": ("from datetime import date", "date.today()  # expect: workflow-clock"),
    "local time without its argument": (
        "import time",
        "time.localtime()  # expect: workflow-clock",
    ),
    "chance": ("import random", "random.choice([1, 2])  # expect: workflow-random"),
    "unseeded generator": (
        "import random",
        "g = random.Random()  # expect: workflow-random\ng.random()",
    ),
    "uuid4": ("from uuid import uuid4", "str(uuid4())  # expect: workflow-random"),
    "secrets": ("import secrets", "secrets.token_hex(8)  # expect: workflow-random"),
    "os.urandom": ("import os", "os.urandom(8)  # expect: workflow-random"),
    "imported inside the function": (
        "",
        "import uuid\nuuid.uuid1()  # expect: workflow-random",
    ),
    "star import": ("from uuid import *", "uuid4()  # expect: workflow-random"),
    "open": ("", "open('/etc/hosts').read()  # expect: workflow-files"),
    "Path": (
        "from pathlib import Path",
        "p = Path('/etc') / 'hosts'\np.read_text()  # expect: workflow-files",
    ),
    "Path as a parameter of an inner function": (
        "from pathlib import Path",
        "def there(p: Path) -> bool:\n    return p.exists()  # expect: workflow-files\nthere(Path('a'))",
    ),
    "os.listdir": ("import os", "os.listdir('.')  # expect: workflow-files"),
    "os.path.exists": ("import os.path", "os.path.exists('.')  # expect: workflow-files"),
    "socket": (
        "import socket",
        "socket.create_connection(('h', 1))  # expect: workflow-network",
    ),
    "urllib": (
        "from urllib import request",
        "request.urlopen('http://127.0.0.1')  # expect: workflow-network",
    ),
    "asyncio connection": (
        "import asyncio",
        "await asyncio.open_connection('h', 1)  # expect: workflow-network",
    ),
    "subprocess": ("import subprocess", "subprocess.run(['a'])  # expect: workflow-process"),
    "environ": ("import os", "os.environ['HOME']  # expect: workflow-environment"),
    "environ.get": ("from os import environ", "environ.get('A')  # expect: workflow-environment"),
    "getenv": ("import os", "os.getenv('HOME')  # expect: workflow-environment"),
    "environment in a constant that the workflow reads": (
        "import os\nREGION = os.getenv('REGION')  # expect: workflow-environment",
        "print_it = REGION\nreturn print_it",
    ),
    "sleep": ("import time", "time.sleep(1)  # expect: workflow-sleep"),
    "thread": (
        "import threading",
        "threading.Thread(target=None).start()  # expect: workflow-threads",
    ),
    "executor": (
        "from concurrent.futures import ThreadPoolExecutor",
        "with ThreadPoolExecutor() as p:  # expect: workflow-threads\n"
        "    p.submit(len, 'a')  # expect: workflow-threads",
    ),
    "to_thread": (
        "import asyncio",
        "await asyncio.to_thread(len, 'a')  # expect: workflow-threads",
    ),
    "run_in_executor": (
        "import asyncio",
        "loop = asyncio.get_running_loop()\n"
        "await loop.run_in_executor(None, len, 'a')  # expect: workflow-threads",
    ),
    "asyncio.wait": ("import asyncio", "await asyncio.wait([])  # expect: workflow-asyncio"),
    "as_completed": (
        "import asyncio",
        "for one in asyncio.as_completed([]):  # expect: workflow-asyncio\n    await one",
    ),
    "loop over a set": (
        "",
        "hosts = {name, 'b'}\nfor host in hosts:  # expect: workflow-set-order\n"
        "    await workflow.sleep(1)",
    ),
    "list of a set": ("", "return list(set(name))  # expect: workflow-set-order"),
    "comprehension over a difference of sets": (
        "",
        "have: set[str] = set()\nreturn [h for h in have - {'a'}]  # expect: workflow-set-order",
    ),
    "join of a set": ("", "return ','.join({name, 'x'})  # expect: workflow-set-order"),
    "global variable": (
        "COUNT = 0\ndef bump() -> None:\n    global COUNT\n"
        "    COUNT = COUNT + 1  # expect: workflow-global-state",
        "bump()",
    ),
    "global container": (
        "SEEN: list[str] = []",
        "SEEN.append(name)  # expect: workflow-global-state",
    ),
    "item of a global container": ("SEEN = {}", "SEEN[name] = 1  # expect: workflow-global-state"),
    "a module under a name that the function declares global": (
        "import random as source",
        "global source\nsource = source  # expect: workflow-global-state\n"
        "source.random()  # expect: workflow-random",
    ),
    "attribute of the class": ("", "Flow.last = name  # expect: workflow-global-state"),
    "print": ("", "print(name)  # expect: workflow-logging"),
    "logging": (
        "import logging\nlog = logging.getLogger(__name__)",
        "log.info('hello')  # expect: workflow-logging",
    ),
    "factory of a dataclass field": (
        "import uuid\nfrom dataclasses import dataclass, field\n"
        "@dataclass\nclass Job:\n    size: int = 1\n"
        "    id: str = field(default_factory=lambda: str(uuid.uuid4()))  # expect: workflow-random",
        "Job(size=2)",
    ),
    "function handed on": (
        "import random",
        "return sorted([1, 2], key=random.randrange)  # expect: workflow-random",
    ),
    "activity called as a function": ("", "await echo(name)  # expect: workflow-calls-activity"),
}

INNOCENT = {
    "the SDK's own": (
        "import asyncio",
        "workflow.now()\nworkflow.random().choice([1])\nworkflow.uuid4()\nawait asyncio.sleep(1)\n"
        "await workflow.sleep(1)\nworkflow.logger.info('x')\nawait workflow.wait([])\n"
        "for one in workflow.as_completed([]):\n    await one\nawait asyncio.gather()",
    ),
    "dates that are computed": (
        "import datetime as dt\nimport time",
        "dt.datetime.fromisoformat('2024-01-01')\ndt.timedelta(days=1)\ntime.gmtime(0)\n"
        "time.strftime('%Y', time.gmtime(0))",
    ),
    "names that only look alike": (
        "class time:\n    @staticmethod\n    def sleep(n: int) -> int:\n        return n\n"
        "def open(n: str) -> str:\n    return n",
        "time.sleep(1)\nopen(name)",
    ),
    "a parameter that hides a module": (
        "import random\ndef pick(random: list[int]) -> int:\n    return random.index(1)",
        "pick([1])",
    ),
    "ids and generators that follow from their input": (
        "import random\nimport uuid",
        "uuid.uuid5(uuid.NAMESPACE_DNS, name)\nuuid.UUID(int=1)\nrandom.Random(name).random()",
    ),
    "paths that are only text": (
        "import os\nfrom pathlib import Path, PurePosixPath",
        "os.path.join('a', 'b')\nos.fspath('a')\nstr(Path('a') / 'b')\nPath('a').parent.name\n"
        "PurePosixPath('a').as_posix()",
    ),
    "text that is no path": ("", "return name.replace('a', 'b')"),
    "sets whose order does not matter": (
        "",
        "hosts = {name, 'b'}\nif name in hosts:\n    pass\nfor h in sorted(hosts):\n    pass\n"
        "len(hosts)\nmin(hosts)\nany(h == 'a' for h in hosts)\nsorted(h.upper() for h in hosts)\n"
        "other = {h.upper() for h in hosts}\nreturn other | hosts",
    ),
    "a list of a set that is sorted at once": (
        "",
        "hosts = {name}\nsorted(list(hosts))\nsorted([h.upper() for h in hosts])\nmax(*hosts, 'a')",
    ),
    "dicts, which keep their order": ("", "for k, v in {'a': 1}.items():\n    pass"),
    "under TYPE_CHECKING": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import requests",
        "if TYPE_CHECKING:\n    requests.get('x')",
    ),
    "what a helper does outside of workflows": (
        "from datetime import datetime\ndef now() -> datetime:\n    if workflow.in_workflow():\n"
        "        return workflow.now()\n    return datetime.now()",
        "now()",
    ),
    "said once, not on replay": (
        "",
        "if not workflow.unsafe.is_replaying():\n    print('once')",
    ),
    "state of the instance": (
        "ITEMS = ['a']",
        "self.items = []\nself.items.append(name)\nlocal = []\nlocal.append(ITEMS[0])",
    ),
    "an activity by reference": ("", "await workflow.execute_activity(echo, name)"),
    "an activity handed to a helper": (
        "async def start(activity, x: str) -> None:\n    await workflow.execute_activity(activity, x)",
        "await start(echo, name)",
    ),
    "a helper that nobody in a workflow calls": (
        "import time\ndef measure() -> float:\n    return time.time()",
        "pass",
    ),
    "imports passed through": (
        "with workflow.unsafe.imports_passed_through():\n    import os\n    import json as r",
        "return r.dumps(os.sep)",
    ),
    "model whose factory is not used": (
        "import uuid\nfrom pydantic import BaseModel, Field\nclass Job(BaseModel):\n"
        "    id: str = Field(default_factory=lambda: str(uuid.uuid4()))",
        "Job(id=name)",
    ),
    "exceptions and constants of a module": (
        "import subprocess\nimport socket",
        "try:\n    pass\nexcept (subprocess.CalledProcessError, socket.timeout):\n    pass",
    ),
    "suppressed with a reason": (
        "import time",
        "time.time()  # check: ignore[workflow-clock] measured for the log only",
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


def test_reported_at_the_helper_with_the_path_that_leads_there(in_run: InRun) -> None:
    planted = in_run(
        "plan(name)",
        "from PKG.deep.helper import plan",
        deep__helper="""
            from PKG.deep.clock import Clock


            def plan(name: str) -> float:
                return Clock().read()
        """,
        deep__clock="""
            import time


            class Base:
                def read(self) -> float:
                    return self._now

                @property
                def _now(self) -> float:
                    return time.time()  # expect: workflow-clock


            class Clock(Base):
                pass
        """,
    )
    findings = planted.findings()
    assert planted.places(findings) == planted.expected
    assert "Flow.run -> plan -> Base.read -> Base._now" in findings[0].message
    assert "workflow.time()" in findings[0].instead


def test_modules_of_the_user_outside_of_the_package_are_followed(
    plant: Callable[..., Planted],
) -> None:
    other = plant(
        {"tools.py": "import uuid\n\n\ndef new_id() -> str:\n    return str(uuid.uuid4())\n"}
    )
    planted = plant(
        {
            "__init__.py": "from PKG.flow import Flow\nWORKFLOWS = [Flow]\nACTIVITIES = []\n",
            "flow.py": f"""
                from temporalio import workflow

                with workflow.unsafe.imports_passed_through():
                    from {other.name} import tools


                @workflow.defn
                class Flow:
                    @workflow.run
                    async def run(self, name: str) -> str:
                        return tools.new_id()
            """,
        }
    )
    (finding,) = planted.findings()
    assert (finding.rule, finding.file, finding.line) == (
        "workflow-random",
        other.root / "tools.py",
        5,
    )


def test_signals_queries_and_inherited_handlers_are_workflow_code(
    plant: Callable[..., Planted],
) -> None:
    planted = plant(
        {
            "__init__.py": "from PKG.flow import Flow\nWORKFLOWS = [Flow]\nACTIVITIES = []\n",
            "flow.py": """
                import random
                import time

                from temporalio import workflow


                class Pausable:
                    @workflow.signal
                    def pause(self) -> None:
                        self.since = time.time()  # expect: workflow-clock


                @workflow.defn
                class Flow(Pausable):
                    @workflow.run
                    async def run(self, name: str) -> None:
                        await workflow.wait_condition(
                            lambda: random.random() > 0.5  # expect: workflow-random
                        )
            """,
        }
    )
    assert planted.places(planted.findings()) == planted.expected


def test_what_else_stands_in_the_class_counts_where_it_is_reached(
    plant: Callable[..., Planted],
) -> None:
    planted = plant(
        {
            "__init__.py": "from PKG.flow import Flow\nWORKFLOWS = [Flow]\nACTIVITIES = []\n",
            "flow.py": """
                import uuid

                from temporalio import workflow


                @workflow.defn
                class Flow:
                    @staticmethod
                    def id_for_starters() -> str:
                        return str(uuid.uuid4())

                    def _told(self, name: str) -> None:
                        uuid.uuid4()  # expect: workflow-random

                    def _check(self) -> None:
                        uuid.uuid1()  # expect: workflow-random

                    @workflow.update
                    def change(self, name: str) -> None: ...

                    @change.validator
                    def valid(self, name: str) -> None:
                        self._check()

                    @workflow.run
                    async def run(self, name: str) -> None:
                        workflow.set_signal_handler("told", self._told)
            """,
        }
    )
    assert planted.places(planted.findings()) == planted.expected
