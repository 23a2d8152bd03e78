"""What is registered, and every way in which it is refused: the object and file:line are named."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

from temporal import config, registry
from temporal.registry import Registry
from temporal.shared.errors import RegistryError, UnknownName

_numbers = itertools.count()

WORKFLOW = """from temporalio import workflow


@workflow.defn
class {name}:
    '''Does {name}.'''

    @workflow.run
    async def run(self, given: str) -> int:
        return 1
"""
ACTIVITY = """from temporalio import activity


@activity.defn
async def {name}(given: str) -> int:
    return 1
"""


class Package:
    """A package of its own name in a folder on the path, so that no test sees another's."""

    def __init__(self, folder: Path) -> None:
        self.name = f"strange_{next(_numbers)}"
        self.root = folder / self.name
        self.write("__init__.py", "")
        self.write("workflows/__init__.py", "WORKFLOWS = []\n")
        self.write("activities/__init__.py", "ACTIVITIES = []\n")

    def write(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("PKG", self.name))
        return file

    def load(self, **env: str) -> Registry:
        return registry.load(config.load({"TEMPORAL_MODULES": self.name, **env}))

    def problems(self) -> list[str]:
        with pytest.raises(RegistryError) as caught:
            self.load()
        return caught.value.problems

    def problem(self) -> str:
        (only,) = self.problems()
        return only


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    monkeypatch.syspath_prepend(tmp_path)
    return Package(tmp_path)


def test_this_package_holds_together() -> None:
    found = registry.load(config.load({}))
    entry = found.workflow("TestWorkflow")
    assert (entry.domain, entry.queue, entry.package) == (None, "test-task-queue", "temporal")
    assert entry.arg_types == [str]
    assert entry.ret_type is str
    assert entry.summary == "Greets `name` through one activity."
    assert entry.file.name == "test.py"
    assert entry.file.read_text().splitlines()[entry.line - 1] == "class TestWorkflow:"
    assert found.activity("test_activity").kind == "activity"


def test_domains_route(package: Package) -> None:
    package.write("workflows/tides/__init__.py", "")
    package.write("workflows/tides/flood.py", WORKFLOW.format(name="Flood"))
    package.write("workflows/ebb.py", WORKFLOW.format(name="Ebb"))
    package.write(
        "workflows/__init__.py",
        "from PKG.workflows.tides.flood import Flood\nfrom PKG.workflows.ebb import Ebb\n"
        "WORKFLOWS = [Flood, Ebb]\n",
    )
    package.write("activities/tides/__init__.py", "")
    package.write("activities/tides/wave.py", ACTIVITY.format(name="wave"))
    package.write(
        "activities/__init__.py",
        "from PKG.activities.tides.wave import wave\nACTIVITIES = []\nACTIVITIES.append(wave)\n",
    )
    found = package.load(TEMPORAL_TASK_QUEUE_TIDES="sea", TEMPORAL_TASK_QUEUE="land")
    assert (found.workflow("Flood").domain, found.workflow("Flood").queue) == ("tides", "sea")
    assert (found.workflow("Ebb").domain, found.workflow("Ebb").queue) == (None, "land")
    assert found.activity("wave").queue == "sea"
    assert found.queues() == ["land", "sea"]
    classes, functions = found.on_queue("sea")
    assert [c.__name__ for c in classes] == ["Flood"]
    assert [f.__name__ for f in functions] == ["wave"]
    assert package.load().queues() == ["test-task-queue"]


def test_a_plain_module_may_hold_the_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    name = f"single_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(
        WORKFLOW.format(name="Single") + "\n\nWORKFLOWS = [Single]\n"
    )
    found = registry.load(config.load({"TEMPORAL_MODULES": f" {name} ,"}))
    assert found.workflow("Single").package == name


def test_the_same_twice(package: Package) -> None:
    file = package.write("activities/one.py", ACTIVITY.format(name="one"))
    package.write(
        "activities/__init__.py",
        "from PKG.activities.one import one\nACTIVITIES = [one, one]\n",
    )
    assert package.problem() == f"{file}:5: activity 'one' is registered twice"


def test_two_of_one_name(package: Package) -> None:
    first = package.write("workflows/a.py", WORKFLOW.format(name="Same"))
    second = package.write("workflows/b.py", "# moved down\n" + WORKFLOW.format(name="Same"))
    package.write(
        "workflows/__init__.py",
        "from PKG.workflows.a import Same as A\nfrom PKG.workflows.b import Same as B\n"
        "WORKFLOWS = [A, B]\n",
    )
    said = package.problem()
    assert said == f"{second}:6: workflow 'Same' is registered already, from {first}:5"


def test_a_name_of_this_package_is_taken(package: Package) -> None:
    package.write("activities/own.py", ACTIVITY.format(name="test_activity"))
    package.write(
        "activities/__init__.py",
        "from PKG.activities.own import test_activity\nACTIVITIES = [test_activity]\n",
    )
    assert "'test_activity' is registered already, from" in package.problem()


@pytest.mark.parametrize(
    ("kind", "text", "name"),
    [
        ("workflow", "class Bare:\n    pass\n", "Bare"),
        ("activity", "def Bare():\n    pass\n", "Bare"),
        ("workflow", "Bare = 7\n", "7"),
    ],
)
def test_what_is_not_decorated(package: Package, kind: str, text: str, name: str) -> None:
    folder, holder = (
        ("workflows", "WORKFLOWS") if kind == "workflow" else ("activities", "ACTIVITIES")
    )
    file = package.write(f"{folder}/bare.py", "\n" + text)
    package.write(
        f"{folder}/__init__.py", f"from PKG.{folder}.bare import Bare\n{holder} = [Bare]\n"
    )
    said = package.problem()
    assert f"not decorated with @{kind}.defn" in said and name in said
    assert f"{package.name}.{folder}" in said
    if name == "Bare":
        assert said.startswith(f"{file}:2: ")


@pytest.mark.parametrize(
    "spelled",
    [
        "from temporalio import activity\n\n\n@activity.defn\n",
        "from temporalio import activity\n\n\n@activity.defn(name='other')\n",
        "import temporalio.activity\n\n\n@temporalio.activity.defn\n",
        "from temporalio import activity as act\n\n\n@act.defn\n",
        "from temporalio.activity import defn\n\n\n@defn\n",
        "from temporalio.activity import defn as an_activity\n\n\n@an_activity(name='x')\n",
    ],
)
def test_what_was_never_registered(package: Package, spelled: str) -> None:
    file = package.write("activities/deep/lost.py", spelled + "def lost() -> int:\n    return 1\n")
    said = package.problem()
    assert said.startswith(f"{file}:5: activity 'lost' is defined but never registered")
    assert f"from {package.name}.activities.deep.lost import lost" in said
    assert "ACTIVITIES.append(lost)" in said
    assert str(package.root / "activities" / "__init__.py") in said


def test_others_decorators_of_the_same_name_are_none_of_ours(package: Package) -> None:
    package.write(
        "activities/lost.py",
        "from dataclasses import dataclass as defn\n\n\n@defn\nclass Plain:\n    a: int\n",
    )
    package.load()


def test_an_unregistered_workflow(package: Package) -> None:
    file = package.write("workflows/lost.py", WORKFLOW.format(name="Lost"))
    assert package.problem().startswith(f"{file}:5: workflow 'Lost' is defined but never")


def test_a_file_that_nobody_imports_is_read_not_run(package: Package) -> None:
    package.write("workflows/trap.py", "raise SystemExit('imported')\n")
    package.load()
    broken = package.write("workflows/broken.py", "def oops(:\n")
    assert package.problem().startswith(f"{broken}:1: does not parse")


def test_a_package_that_is_not_there() -> None:
    with pytest.raises(RegistryError, match=r"'no_such_pkg' \(from environment TEMPORAL_MODULES\)"):
        registry.load(config.load({"TEMPORAL_MODULES": "no_such_pkg"}))


def test_a_package_that_fails_on_import(package: Package) -> None:
    file = package.write("activities/bad.py", "\nimport nowhere_to_be_found\n")
    package.write("activities/__init__.py", "from PKG.activities.bad import x\nACTIVITIES = [x]\n")
    said = package.problem()
    assert "nowhere_to_be_found" in said and f"{file}:2" in said


@pytest.mark.parametrize("text", ["", "WORKFLOWS = ()\n"])
def test_a_missing_list(package: Package, text: str) -> None:
    file = package.write("workflows/__init__.py", text)
    assert package.problem() == f"{file}: {package.name}.workflows has no list WORKFLOWS"


def test_a_dynamic_activity(package: Package) -> None:
    file = package.write(
        "activities/__init__.py",
        "from collections.abc import Sequence\nfrom temporalio import activity\n"
        "from temporalio.common import RawValue\n\n\n@activity.defn(dynamic=True)\n"
        "async def anything(args: Sequence[RawValue]) -> None:\n    pass\n\n\n"
        "ACTIVITIES = [anything]\n",
    )
    assert package.problem().startswith(f"{file}:7: a dynamic activity would take every unknown")


def test_all_problems_at_once(package: Package) -> None:
    package.write("workflows/lost.py", WORKFLOW.format(name="Lost"))
    package.write("activities/lost.py", ACTIVITY.format(name="lost"))
    assert len(package.problems()) == 2


def announce(folder: Path, name: str, value: str) -> None:
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[temporal_ops]\nmine = {value}\n")


@pytest.mark.parametrize("suffix", ["", ":WORKFLOWS"])
def test_an_installed_distribution_announces_itself(
    package: Package, tmp_path: Path, suffix: str
) -> None:
    package.write("workflows/guest.py", WORKFLOW.format(name="Guest"))
    package.write(
        "workflows/__init__.py", "from PKG.workflows.guest import Guest\nWORKFLOWS = [Guest]\n"
    )
    announce(tmp_path, "guests", package.name + suffix)
    assert registry.load(config.load({})).workflow("Guest").package == package.name
    # Named twice it is still one.
    assert package.load().packages.count(package.name) == 1


def test_an_announced_package_that_is_broken_names_its_entry_point(
    package: Package, tmp_path: Path
) -> None:
    announce(tmp_path, "ghosts", "ghost_package")
    with pytest.raises(RegistryError, match=r"'ghost_package' \(from entry point 'mine'"):
        registry.load(config.load({}))
    sys.modules.pop("ghost_package", None)


def test_a_mistyped_name_offers_the_near_ones() -> None:
    found = registry.load(config.load({}))
    with pytest.raises(UnknownName, match=r"no workflow 'testworkflw'. Did you mean TestWorkflow"):
        found.workflow("testworkflw")
    with pytest.raises(UnknownName, match=r"Known: .*test_activity"):
        found.activity("zzz")


def test_a_queue_for_a_domain_that_is_not_there_is_known() -> None:
    settings = config.load(
        {"TEMPORAL_TASK_QUEUE_AUTOMATION": "servers", "TEMPORAL_TASK_QUEUE_AUTOMATON": "servers"}
    )
    found = registry.load(settings)
    assert found.unknown_domains(settings) == ["automaton"]
    assert "automation" in found.domains()
