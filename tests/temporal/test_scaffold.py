"""`temporal-ops new`: what it writes runs as it stands; what it refuses leaves nothing behind."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import temporal
from temporal.scaffold import CannotCreate, new
from temporal.scaffold.registering import register

REPOSITORY = Path(temporal.__file__).resolve().parent.parent
_numbers = itertools.count()


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a package that no other test has imported."""
    for name in [name for name in os.environ if name.startswith("TEMPORAL_")]:
        monkeypatch.delenv(name)
    name = f"scaffolded_{next(_numbers)}"
    yield name
    for module in [m for m in sys.modules if m.partition(".")[0] == name]:
        del sys.modules[module]


def tree(root: Path) -> dict[str, str]:
    return {
        file.relative_to(root).as_posix(): file.read_text()
        for file in sorted(root.rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts
    }


def command(*argv: str, cwd: Path, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, *argv],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_project_of_ones_own(tmp_path: Path, package: str) -> None:
    created = new("my_domain/my_workflow", package=package, root=tmp_path)
    assert (created.workflow, created.activity) == ("MyWorkflow", "my_activity")
    assert sorted(tree(tmp_path)) == sorted(
        [
            f"{package}/__init__.py",
            f"{package}/workflows/__init__.py",
            f"{package}/workflows/my_domain/__init__.py",
            f"{package}/workflows/my_domain/my_workflow.py",
            f"{package}/activities/__init__.py",
            f"{package}/activities/my_domain/__init__.py",
            f"{package}/activities/my_domain/my_workflow.py",
            f"tests/{package}/workflows/my_domain/test_my_workflow.py",
        ]
    )
    assert {file.relative_to(tmp_path).as_posix() for file in created.files} == set(tree(tmp_path))
    assert f"TEMPORAL_MODULES={package}" in created.advice

    second = new("backup/rotate_keys2", package=package, root=tmp_path)
    new("automation/zap", package=package, root=tmp_path)
    assert second.workflow == "RotateKeys2" and second.activity == "rotate_keys2_activity"
    # Runs for real, in a process of its own, with nothing but what the advice says.
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    said = command("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=tmp_path)
    assert "3 passed" in said
    (tmp_path / "ruff.toml").write_text(
        'line-length = 100\n[lint]\nselect = ["E", "F", "I", "UP", "B", "SIM", "RUF", "PTH", "ASYNC"]\n'
    )
    command("-m", "ruff", "check", "--no-cache", ".", cwd=tmp_path)
    command("-m", "ruff", "format", "--no-cache", "--check", ".", cwd=tmp_path)
    checked = "from temporal import config, check\nprint(check.render(check.run(config.load())))"
    said = command("-c", checked, cwd=tmp_path, TEMPORAL_MODULES=package)
    assert said.startswith("No findings")
    command(
        *("-m", "mypy", "--strict", "--no-error-summary", "--follow-imports=silent"),
        *("--cache-dir", str(tmp_path / "mypy"), package, "tests"),
        cwd=tmp_path,
        MYPYPATH=str(REPOSITORY),  # mypy does not see through an editable install
    )


def test_a_checkout(tmp_path: Path, package: str) -> None:
    for name in ("temporal", "converge", "lab"):
        shutil.copytree(
            REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    (tmp_path / "pyproject.toml").write_text((REPOSITORY / "pyproject.toml").read_text())
    before = tree(tmp_path)
    said = command(
        "-c",
        "from pathlib import Path\nfrom temporal import scaffold\n"
        "print(scaffold.new('my_domain/my_workflow', root=Path.cwd()).advice)",
        cwd=tmp_path,
        PYTHONPATH=str(tmp_path),
    )
    assert "MyWorkflow" in said and "TEMPORAL_MODULES" not in said
    after = tree(tmp_path)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"temporal/workflows/__init__.py", "temporal/activities/__init__.py"}
    added = after["temporal/workflows/__init__.py"].splitlines()
    assert added[-1] == "WORKFLOWS.append(MyWorkflow)"
    assert "from temporal.workflows.my_domain.my_workflow import MyWorkflow" in added
    assert "tests/temporal/workflows/my_domain/test_my_workflow.py" in after
    touched = sorted(changed | (set(after) - set(before)))
    command("-m", "ruff", "check", "--no-cache", *touched, cwd=tmp_path)
    command("-m", "ruff", "format", "--no-cache", "--check", *touched, cwd=tmp_path)
    command(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"),
        cwd=tmp_path,
        PYTHONPATH=str(tmp_path),
    )


def test_never_into_an_installed_package(tmp_path: Path, package: str) -> None:
    with pytest.raises(CannotCreate, match="--package ops"):
        new("my_domain/my_workflow", package="temporal", root=tmp_path)
    assert tree(tmp_path) == {}


def test_a_package_of_ones_own_is_the_default_outside_of_a_checkout(
    tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    new("my_domain/first", package=package, root=tmp_path)
    monkeypatch.setenv("TEMPORAL_MODULES", f"json,{package}")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("TEMPORAL_MODULES", package)
    created = new("my_domain/second", root=tmp_path)
    assert tmp_path / package / "workflows" / "my_domain" / "second.py" in created.files
    assert "TEMPORAL_MODULES" not in created.advice  # it is set already


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("my_workflow", "<domain>/<name>"),
        ("a/b/c", "<domain>/<name>"),
        ("../evil", "cannot name a module"),
        ("/etc/passwd", "<domain>/<name>"),
        ("..", "<domain>/<name>"),
        ("my_domain/", "cannot name a module"),
        ("-rf/x", "write 'rf'"),
        ("my-domain/x", "write 'my_domain'"),
        ("my_domain/MyWorkflow", "write 'my_workflow'"),
        ("my_domain/class", "word of Python"),
        ("my_domain/2fast", "beginning with a letter"),
        ("my_domain/__init__", "write 'init'"),
        ("my_domain/x y", "write 'x_y'"),
        ("my_domain/naïve", "cannot name a module"),
        ("my_domain/x\n", "cannot name a module"),
    ],
)
def test_bad_names(path: str, says: str, tmp_path: Path, package: str) -> None:
    with pytest.raises(CannotCreate) as caught:
        new(path, package=package, root=tmp_path)
    assert says in str(caught.value)
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("name", ["json", "temporalio", "../x", "a-b", "a..b", "class"])
def test_bad_packages(name: str, tmp_path: Path, package: str) -> None:
    with pytest.raises(CannotCreate):
        new("my_domain/my_workflow", package=name, root=tmp_path)
    assert tree(tmp_path) == {}


def test_what_exists_is_left_alone(tmp_path: Path, package: str) -> None:
    new("my_domain/my_workflow", package=package, root=tmp_path)
    before = tree(tmp_path)
    # The same, the same class from another domain, and the same activity from another name.
    for path in ("my_domain/my_workflow", "other/my_workflow", "other/my"):
        with pytest.raises(CannotCreate, match=r"registered already, from .*my_workflow\.py:"):
            new(path, package=package, root=tmp_path)
    assert tree(tmp_path) == before


def test_a_file_that_is_in_the_way(tmp_path: Path, package: str) -> None:
    test = tmp_path / "tests" / package / "workflows" / "a" / "test_b.py"
    test.parent.mkdir(parents=True)
    test.write_text("mine")
    with pytest.raises(CannotCreate, match="exists already"):
        new("a/b", package=package, root=tmp_path)
    assert list(tree(tmp_path).values()) == ["mine"]


def test_a_domain_that_is_a_module_already(tmp_path: Path, package: str) -> None:
    new("first/one", package=package, root=tmp_path)
    (tmp_path / package / "workflows" / "second.py").write_text("")
    before = tree(tmp_path)
    with pytest.raises(CannotCreate, match="'second' is the module"):
        new("second/two", package=package, root=tmp_path)
    assert tree(tmp_path) == before


def test_a_registry_that_does_not_hold_together(tmp_path: Path, package: str) -> None:
    folder = tmp_path / package / "workflows"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("")
    (folder / "__init__.py").write_text("WORKFLOWS = 3\n")
    before = tree(tmp_path)
    with pytest.raises(CannotCreate, match="has no list WORKFLOWS"):
        new("a/b", package=package, root=tmp_path)
    assert tree(tmp_path) == before


def test_what_cannot_be_finished_is_taken_back(
    tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    new("a/first", package=package, root=tmp_path)
    before = tree(tmp_path)
    folders = {path for path in tmp_path.rglob("*") if path.is_dir()}
    real = Path.write_text

    def full(self: Path, *args: object, **kwargs: object) -> int:
        if self.name == "test_second.py":
            real(self, "half")
            raise OSError(28, "No space left on device", str(self))
        return real(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(CannotCreate, match="No space left on device; what was written was taken"):
        new("b/second", package=package, root=tmp_path)
    assert tree(tmp_path) == before
    now = {path for path in tmp_path.rglob("*") if path.is_dir()}
    assert {path for path in now - folders if path.name != "__pycache__"} == set()


IMPORTS = """\"\"\"Registered.\"\"\"

from collections.abc import Callable

from ops.workflows.a.x import X
from ops.workflows.c.y10 import Y

WORKFLOWS: list[type] = []

WORKFLOWS.append(X)
WORKFLOWS.append(Y)
"""


@pytest.mark.parametrize(
    ("module", "after"),
    [
        ("ops.workflows.a.a", ""),
        ("ops.workflows.b.z", "from ops.workflows.a.x import X"),
        ("ops.workflows.c.y9", "from ops.workflows.a.x import X"),
        ("ops.workflows.d.z", "from ops.workflows.c.y10 import Y"),
    ],
)
def test_imports_stay_sorted(module: str, after: str) -> None:
    lines = register(IMPORTS, module, "New", "WORKFLOWS").splitlines()
    assert lines[lines.index(f"from {module} import New") - 1] == after
    assert lines[-2:] == ["WORKFLOWS.append(Y)", "WORKFLOWS.append(New)"]


@pytest.mark.parametrize(
    "text",
    [
        IMPORTS,
        "WORKFLOWS = []\n",
        '"""Doc."""\n\nWORKFLOWS = []\n',
        "",
        "import x\nWORKFLOWS = [x.X]",
    ],
)
def test_registering_twice_changes_nothing(text: str) -> None:
    once = register(text, "ops.workflows.b.z", "New", "WORKFLOWS")
    assert once.count("from ops.workflows.b.z import New") == 1
    assert once.count("WORKFLOWS.append(New)") == 1
    assert register(once, "ops.workflows.b.z", "New", "WORKFLOWS") == once
