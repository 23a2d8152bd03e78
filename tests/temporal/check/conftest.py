"""Small packages with mistakes planted in them, checked as a person's own package would be.

In the source of a case, `PKG` is the package's name, and a line that ends in `# expect: <rule>` (several
separated by spaces) is where a finding of that rule must be. Findings anywhere else fail the test.
"""

from __future__ import annotations

import itertools
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from temporal import config, registry
from temporal.check import Finding, run
from temporal.shared.errors import RegistryError

_numbers = itertools.count()
_EXPECT = re.compile(r"# expect: ([a-z -]+)$")
Places = set[tuple[str, int, str]]


class Planted:
    """A package on disk, and what its comments say must be found."""

    def __init__(self, root: Path, name: str, files: dict[str, str]) -> None:
        self.root, self.name = root / name, name
        self.expected: Places = set()
        for path, text in files.items():
            file = self.root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            lines = textwrap.dedent(text).replace("PKG", name).strip("\n").split("\n")
            for number, line in enumerate(lines, 1):
                found = _EXPECT.search(line)
                for rule in found[1].split() if found else ():
                    self.expected.add((path, number, rule))
            clean = [_EXPECT.sub("", line).rstrip() for line in lines]
            file.write_text("\n".join(clean) + "\n")

    def settings(self, **env: str) -> config.Settings:
        return config.load(env={"TEMPORAL_MODULES": self.name, **env})

    def findings(self, **env: str) -> list[Finding]:
        settings = self.settings(**env)
        try:
            known = registry.load(settings)
        except RegistryError:
            return run(settings)
        # The project itself has a test of its own: here it would only take time.
        return run(
            settings,
            registry.Registry(
                {n: e for n, e in known.workflows.items() if e.package == self.name},
                {n: e for n, e in known.activities.items() if e.package == self.name},
                (self.name,),
            ),
        )

    def places(self, findings: list[Finding]) -> Places:
        return {
            (one.file.relative_to(self.root).as_posix() if one.file else "", one.line, one.rule)
            for one in findings
        }


Plant = Callable[[dict[str, str]], Planted]


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    """Writes a package, with empty `__init__.py` files where none is given."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[str] = []

    def write(files: dict[str, str]) -> Planted:
        name = f"planted_{next(_numbers)}"
        made.append(name)
        every = {"__init__.py": "", **files}
        for path in list(files):
            for folder in Path(path).parents:
                if folder != Path():
                    every.setdefault((folder / "__init__.py").as_posix(), "")
        return Planted(tmp_path, name, every)

    yield write
    for module in [m for m in sys.modules if m.partition(".")[0] in made]:
        del sys.modules[module]


@pytest.fixture
def in_run(plant: Plant) -> Callable[..., Planted]:
    """A package with one workflow whose run method has `body`, in a module that begins with `top`."""

    def write(body: str, top: str = "", **files: str) -> Planted:
        head = "from temporalio import workflow\nfrom PKG.act import echo, Order, take\n"
        flow = (
            head
            + textwrap.dedent(top).strip("\n")
            + "\n\n\n@workflow.defn\nclass Flow:\n    @workflow.run\n"
            + "    async def run(self, name: str) -> None:\n"
            + textwrap.indent(textwrap.dedent(body).strip("\n"), "        ")
            + "\n"
        )
        return plant(
            {
                "__init__.py": (
                    "from PKG.act import echo, take\nfrom PKG.flow import Flow\n"
                    "WORKFLOWS = [Flow]\nACTIVITIES = [echo, take]\n"
                ),
                "act.py": ACTIVITIES,
                "flow.py": flow,
                **{path.replace("__", "/") + ".py": text for path, text in files.items()},
            }
        )

    return write


ACTIVITIES = """
import time

from pydantic import BaseModel
from temporalio import activity


class Order(BaseModel):
    id: str


@activity.defn
async def echo(text: str) -> str:
    return f"{text} at {time.time()}"


@activity.defn
async def take(order: Order, count: int = 1) -> None:
    pass
"""
