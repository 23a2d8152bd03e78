"""Activities that declare a heartbeat and never beat, and async ones that block."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import pytest

from .conftest import Plant, Planted

HEAD = """
import asyncio
from collections.abc import Callable
from datetime import timedelta
from temporalio import activity
from temporal.shared import Progress, beat, options
"""
BEATS_IN = (
    "@activity.defn\n@options(heartbeat=timedelta(seconds=5))\nasync def step(x: str) -> None:"
)

SILENT = {
    "no beat at all": (
        "",
        "@activity.defn\n@options(heartbeat=timedelta(seconds=5))\n"
        "async def step(x: str) -> None:  # expect: heartbeat-never-sent\n    await asyncio.sleep(1)",
    ),
    "options above defn, with a helper that does not beat": (
        "def work(x: str) -> None: ...",
        "@options(start_to_close=timedelta(hours=1), heartbeat=timedelta(seconds=5))\n@activity.defn\n"
        "def step(x: str) -> None:  # expect: heartbeat-never-sent\n    work(x)",
    ),
}

BEATING = {
    "directly": ("", f"{BEATS_IN}\n    activity.heartbeat('x')"),
    "by beat": ("", f"{BEATS_IN}\n    beat(Progress())"),
    "in a helper of a helper": (
        "def a() -> None:\n    b()\ndef b() -> None:\n    beat(Progress())",
        f"{BEATS_IN}\n    a()",
    ),
    "handed on as a callback": (
        "import json",
        f"{BEATS_IN}\n    json.loads('1', parse_int=beat)",
    ),
    "in a nested function that is handed on": (
        "import json",
        f"{BEATS_IN}\n    def on(n: str) -> int:\n        activity.heartbeat(n)\n        return 1\n"
        "    json.loads('1', parse_int=on)",
    ),
    "in a lambda": (
        "import json",
        f"{BEATS_IN}\n    json.loads('1', parse_int=lambda n: beat(Progress(what=n)))",
    ),
    "in a method of a class that it makes": (
        "class Reporter:\n    def __enter__(self) -> None:\n        beat(Progress())\n"
        "    def __exit__(self, *a: object) -> None: ...",
        f"{BEATS_IN}\n    with Reporter():\n        pass",
    ),
    "by a decorator": (
        "def beating(fn):\n    async def wrapper(x: str) -> None:\n        activity.heartbeat()\n"
        "        return await fn(x)\n    wrapper.__name__ = fn.__name__\n    return wrapper",
        "@activity.defn\n@options(heartbeat=timedelta(seconds=5))\n@beating\n"
        "async def step(x: str) -> None: ...",
    ),
    "by a method of an object whose type is unknown": (
        "import json\nclass Unit:\n    def follow(self) -> None:\n        beat(Progress())",
        f"{BEATS_IN}\n    json.loads(x).follow()",
    ),
    "none declared": (
        "",
        "@activity.defn\n@options(start_to_close=timedelta(hours=1))\n"
        "async def step(x: str) -> None: ...",
    ),
}

ASYNC = "@activity.defn\nasync def step(x: str) -> None:\n"
BLOCKING = {
    "sleep": ("import time", f"{ASYNC}    time.sleep(1)  # expect: blocking-in-async"),
    "subprocess": (
        "from subprocess import run",
        f"{ASYNC}    run(['true'])  # expect: blocking-in-async",
    ),
    "urlopen": (
        "import urllib.request",
        f"{ASYNC}    urllib.request.urlopen(x)  # expect: blocking-in-async",
    ),
    "secrets": (
        "from temporal.shared.secrets import resolve",
        f"{ASYNC}    resolve(x)  # expect: blocking-in-async",
    ),
    "result of a future": (
        "from concurrent.futures import ThreadPoolExecutor",
        f"{ASYNC}    with ThreadPoolExecutor() as pool:\n"
        "        pool.submit(len, x).result()  # expect: blocking-in-async",
    ),
    "join of a thread": (
        "import threading",
        f"{ASYNC}    t = threading.Thread(target=print)\n    t.join()  # expect: blocking-in-async",
    ),
    "a tree of files": (
        "import shutil",
        f"{ASYNC}    shutil.rmtree(x)  # expect: blocking-in-async",
    ),
    "socket": (
        "import socket",
        f"{ASYNC}    with socket.create_connection((x, 1)) as s:  # expect: blocking-in-async\n"
        "        s.recv(1)  # expect: blocking-in-async",
    ),
    "through helpers": (
        "import time\ndef a() -> None:\n    b()\ndef b() -> None:\n    time.sleep(1)",
        f"{ASYNC}    a()  # expect: blocking-in-async",
    ),
    "in an async helper": (
        "import time\nasync def a() -> None:\n    time.sleep(1)  # expect: blocking-in-async",
        f"{ASYNC}    await a()",
    ),
    "in a nested function that it calls": (
        "import time",
        f"{ASYNC}    def inner() -> None:\n        time.sleep(1)\n"
        "    inner()  # expect: blocking-in-async",
    ),
    "in a method": (
        "import subprocess\nclass Git:\n    def clone(self) -> None:\n        subprocess.run(['git'])",
        f"{ASYNC}    git = Git()\n    git.clone()  # expect: blocking-in-async",
    ),
}
FLOWING = {
    "a sync activity, which has a thread": (
        "import time",
        "@activity.defn\ndef step(x: str) -> None:\n    time.sleep(1)",
    ),
    "to_thread and run_in_executor": (
        "import time\nfrom temporal.shared.secrets import resolve\n"
        "def work() -> None:\n    time.sleep(1)",
        f"{ASYNC}    await asyncio.to_thread(time.sleep, 1)\n    await asyncio.to_thread(work)\n"
        "    await asyncio.to_thread(resolve, x)\n"
        "    await asyncio.get_running_loop().run_in_executor(None, work)\n"
        "    await asyncio.to_thread(lambda: work())",
    ),
    "a nested function for a thread": (
        "import time",
        f"{ASYNC}    def inner() -> None:\n        time.sleep(1)\n    await asyncio.to_thread(inner)",
    ),
    "the async counterparts": (
        "",
        f"{ASYNC}    await asyncio.sleep(1)\n    await asyncio.create_subprocess_exec('true')\n"
        "    await asyncio.open_connection(x, 1)",
    ),
    "done futures of asyncio, and join of text": (
        "",
        f"{ASYNC}    task = asyncio.create_task(asyncio.sleep(0))\n    await task\n    task.result()\n"
        "    ','.join(['a'])",
    ),
    "one small file": (
        "from pathlib import Path",
        f"{ASYNC}    Path(x).read_text()\n    with open(x) as f:\n        f.read()",
    ),
    "a method that is only called run": (
        "class Job:\n    def run(self) -> None: ...",
        f"{ASYNC}    Job().run()",
    ),
}


@pytest.fixture
def with_activity(plant: Plant) -> Callable[[str, str], Planted]:
    def write(top: str, code: str) -> Planted:
        return plant(
            {
                "__init__.py": "from PKG.act import step\nWORKFLOWS = []\nACTIVITIES = [step]\n",
                "act.py": HEAD + textwrap.dedent(top) + "\n\n\n" + textwrap.dedent(code) + "\n",
            }
        )

    return write


@pytest.mark.parametrize("case", SILENT | BLOCKING)
def test_planted(case: str, with_activity: Callable[[str, str], Planted]) -> None:
    planted = with_activity(*(SILENT | BLOCKING)[case])
    assert planted.expected, "the case says nowhere what must be found"
    assert planted.places(planted.findings()) == planted.expected


@pytest.mark.parametrize("case", BEATING | FLOWING)
def test_innocent(case: str, with_activity: Callable[[str, str], Planted]) -> None:
    assert with_activity(*(BEATING | FLOWING)[case]).findings() == []


def test_a_helper_is_named_with_the_line_that_blocks(
    with_activity: Callable[[str, str], Planted],
) -> None:
    (finding,) = with_activity(*BLOCKING["through helpers"]).findings()
    assert "a -> b calls time.sleep (act.py:" in finding.message
    assert "asyncio.to_thread(a" in finding.instead
