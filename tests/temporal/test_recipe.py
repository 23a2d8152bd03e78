"""The recipe for a workflow of one's own, typed in character for character, on the real server."""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
from pathlib import Path

from tests.temporal.support import ROOT, Processes

RECIPE = """\
## Adding New Workflows

1. **Create workflow file** in `temporal/workflows/`:
   ```python
   # temporal/workflows/my_domain/my_workflow.py
   from temporalio import workflow
   from temporal.shared import get_default_retry_policy

   @workflow.defn(sandboxed=False)
   class MyWorkflow:
       @workflow.run
       async def run(self, input: str) -> str:
           result = await workflow.execute_activity(
               "my_activity",
               input,
               retry_policy=get_default_retry_policy(),
           )
           return result
   ```

2. **Create activity file** in `temporal/activities/`:
   ```python
   # temporal/activities/my_domain/my_activity.py
   from temporalio import activity

   @activity.defn
   async def my_activity(input: str) -> str:
       # Activity implementation
       return f"Processed: {input}"
   ```

3. **Register in `__init__.py`**:
   ```python
   # temporal/workflows/__init__.py
   from temporal.workflows.my_domain.my_workflow import MyWorkflow
   WORKFLOWS.append(MyWorkflow)

   # temporal/activities/__init__.py
   from temporal.activities.my_domain.my_activity import my_activity
   ACTIVITIES.append(my_activity)
   ```
"""

PROGRAM = """
import asyncio, json, temporal
from temporal.testing import environment

async def main():
    async with environment() as env:
        handle = await env.start("MyWorkflow", "World")
        print(json.dumps([await handle.result(), temporal.__file__]))

asyncio.run(main())
"""


def files(recipe: str) -> dict[str, str]:
    """The files that the recipe's code blocks name in their comments, with their text."""
    found: dict[str, str] = {}
    for block in re.findall(r"```python\n(.*?)```", recipe, re.DOTALL):
        parts = re.split(r"^# (temporal/\S+)\n", textwrap.dedent(block), flags=re.MULTILINE)
        assert not parts[0].strip(), parts[0]
        found |= dict(zip(parts[1::2], parts[2::2], strict=True))
    return found


def test_the_recipe_is_what_it_was() -> None:
    assert sorted(files(RECIPE)) == [
        "temporal/activities/__init__.py",
        "temporal/activities/my_domain/my_activity.py",
        "temporal/workflows/__init__.py",
        "temporal/workflows/my_domain/my_workflow.py",
    ]
    text = files(RECIPE)["temporal/workflows/my_domain/my_workflow.py"]
    assert "@workflow.defn(sandboxed=False)" in text
    assert "timeout" not in text


async def test_the_recipe_works(tmp_path: Path, processes: Processes) -> None:
    shutil.copytree(
        ROOT / "temporal", tmp_path / "temporal", ignore=shutil.ignore_patterns("__pycache__")
    )
    for path, text in files(RECIPE).items():
        file = tmp_path / path
        file.parent.mkdir(exist_ok=True)
        with file.open("a") as out:  # the recipe adds to the two __init__.py, the rest is new
            out.write(text)
    program = processes.start(
        [sys.executable, "-c", PROGRAM],
        tmp_path,
        {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        cwd=tmp_path,
    )
    assert await program.ends() == 0, program.output()
    result, package = json.loads(program.output().splitlines()[-1])
    assert result == "Processed: World"
    assert Path(package).is_relative_to(tmp_path)
