"""The check as a whole: this project, problems of the registry, suppressions, output, time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

import temporal
from temporal import config
from temporal.check import RULES, Finding, render, run

from .conftest import Plant

ROOT = Path(temporal.__file__).parent.parent


def test_nothing_in_this_project() -> None:
    assert run(config.load(env={})) == []


def test_the_recipe_gives_nothing(plant: Plant) -> None:
    planted = plant(
        {
            "workflows/__init__.py": """
                WORKFLOWS = []
                from PKG.workflows.my_domain.my_workflow import MyWorkflow
                WORKFLOWS.append(MyWorkflow)
            """,
            "workflows/my_domain/my_workflow.py": """
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
            """,
            "activities/__init__.py": """
                ACTIVITIES = []
                from PKG.activities.my_domain.my_activity import my_activity
                ACTIVITIES.append(my_activity)
            """,
            "activities/my_domain/my_activity.py": """
                from temporalio import activity

                @activity.defn
                async def my_activity(input: str) -> str:
                    # Activity implementation
                    return f"Processed: {input}"
            """,
        }
    )
    assert planted.findings() == []


BROKEN = {
    "workflows/__init__.py": "from PKG.workflows.flow import Flow\nWORKFLOWS = [Flow]\n",
    "workflows/flow.py": """
        import time

        from temporalio import workflow


        @workflow.defn
        class Flow:
            @workflow.run
            async def run(self, name: str) -> None:
                time.time()  # expect: workflow-clock
                await workflow.execute_activity("echo", name)
                await workflow.execute_activity("ehco", name)  # expect: unknown-name


        @workflow.defn
        class Forgotten:  # expect: registry
            @workflow.run
            async def run(self, name: str) -> None: ...
    """,
    "activities/__init__.py": """
        from PKG.activities.echo import echo, plain
        ACTIVITIES = [echo, plain]
    """,
    "activities/echo.py": """
        from temporalio import activity


        @activity.defn
        async def echo(text: str) -> None: ...


        def plain(text: str) -> None: ...  # expect: registry
    """,
}


def test_problems_of_the_registry_stand_beside_the_other_findings(plant: Plant) -> None:
    planted = plant(BROKEN)
    findings = planted.findings()
    assert planted.places(findings) == planted.expected
    forgotten = next(one for one in findings if "Forgotten" in one.message)
    assert "WORKFLOWS.append(Forgotten)" in forgotten.instead


def test_a_package_that_is_not_there() -> None:
    findings = run(config.load(env={"TEMPORAL_MODULES": "no_such_package_at_all"}))
    assert [one.rule for one in findings] == ["registry"]
    assert "TEMPORAL_MODULES" in findings[0].message


def test_a_module_that_raises_when_it_is_imported(plant: Plant) -> None:
    planted = plant(
        {"workflows/__init__.py": "import PKG.bad\nWORKFLOWS = []\n", "bad.py": "\n1 / 0\n"}
    )
    (finding,) = planted.findings()
    assert finding.file == planted.root / "bad.py" and "ZeroDivisionError" in finding.message


@pytest.mark.parametrize(
    ("comment", "rules"),
    [
        ("# check: ignore[workflow-clock] only for the log", set()),
        ("# noqa  # check: ignore[workflow-clock, workflow-random] shown to people", set()),
        ("# check: ignore[workflow-clock]", {"workflow-clock", "bad-suppression"}),
        ("# check: ignore[no-such-rule] why", {"workflow-clock", "bad-suppression"}),
        ("# check: ignore all of it", {"workflow-clock", "bad-suppression"}),
        ("# check: ignore[workflow-random] another rule", {"workflow-clock"}),
    ],
)
def test_suppressions(comment: str, rules: set[str], plant: Plant) -> None:
    planted = plant(
        {
            "__init__.py": "from PKG.flow import Flow\nWORKFLOWS = [Flow]\nACTIVITIES = []\n",
            "flow.py": f"""
                import time
                from temporalio import workflow


                @workflow.defn
                class Flow:
                    @workflow.run
                    async def run(self, name: str) -> str:
                        time.time()  {comment}
                        return "# check: ignore in a text is no comment"
            """,
        }
    )
    assert {one.rule for one in planted.findings()} == rules


def test_an_input_without_a_type(plant: Plant) -> None:
    planted = plant(
        {
            "__init__.py": "from PKG.act import go\nWORKFLOWS = []\nACTIVITIES = [go]\n",
            "act.py": """
                from temporalio import activity


                @activity.defn
                async def go(
                    what,  # expect: untyped-input
                    much: int = 1,
                ) -> None: ...
            """,
        }
    )
    findings = planted.findings()
    assert planted.places(findings) == planted.expected
    assert findings[0].severity == "note"


def test_columns_count_characters(plant: Plant) -> None:
    planted = plant(
        {
            "__init__.py": "from PKG.flow import Flow\nWORKFLOWS = [Flow]\nACTIVITIES = []\n",
            "flow.py": """
                import time
                from temporalio import workflow


                @workflow.defn
                class Flow:
                    @workflow.run
                    async def run(self, name: str) -> None:
                        "äöü→"; time.time()
            """,
        }
    )
    (finding,) = planted.findings()
    text = (planted.root / "flow.py").read_text().splitlines()[finding.line - 1]
    assert text[finding.column - 1 :] == "time.time()"


@pytest.fixture
def findings(tmp_path: Path) -> list[Finding]:
    inside = tmp_path / "flows" / "a b.py"
    return [
        Finding("workflow-clock", "error", "reads the clock", inside, 3, 5, "`workflow.now()`"),
        Finding("workflow-logging", "warning", "prints", Path("/elsewhere/x.py"), 1, 1, "logger"),
        Finding("registry", "error", "cannot be imported", None, 0, 0, "install it"),
    ]


def test_human(findings: list[Finding], tmp_path: Path) -> None:
    text = render(findings, "human", tmp_path)
    assert "flows/a b.py:3:5: error: reads the clock [workflow-clock]" in text
    assert "instead: `workflow.now()`" in text
    assert "/elsewhere/x.py:1:1: warning" in text
    assert text.endswith("2 errors, 1 warning in 2 files")
    assert render([], "human", tmp_path).startswith("No findings")


def test_json(findings: list[Finding], tmp_path: Path) -> None:
    data = json.loads(render(findings, "json", tmp_path))
    assert data["summary"] == {"error": 2, "warning": 1, "note": 0}
    assert data["findings"][0] == {
        "rule": "workflow-clock",
        "severity": "error",
        "message": "reads the clock",
        "file": "flows/a b.py",
        "line": 3,
        "column": 5,
        "instead": "`workflow.now()`",
    }
    assert data["findings"][2]["file"] is None


def test_sarif(findings: list[Finding], tmp_path: Path) -> None:
    data = json.loads(render(findings, "sarif", tmp_path))
    assert data["version"] == "2.1.0" and data["$schema"].endswith("sarif-2.1.0.json")
    (sarif_run,) = data["runs"]
    driver = sarif_run["tool"]["driver"]
    assert [rule["id"] for rule in driver["rules"]] == list(RULES)
    for rule in driver["rules"]:
        assert rule["defaultConfiguration"]["level"] in {"error", "warning", "note"}
        assert rule["shortDescription"]["text"] and rule["help"]["text"]
    assert sarif_run["originalUriBaseIds"]["SRCROOT"]["uri"].endswith("/")
    first, second, third = sarif_run["results"]
    for result in sarif_run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in {"error", "warning", "note"} and result["message"]["text"]
    place = first["locations"][0]["physicalLocation"]
    assert place["region"] == {"startLine": 3, "startColumn": 5}
    # A reference to a URI: a space in a path has to be escaped.
    assert place["artifactLocation"] == {"uri": "flows/a%20b.py", "uriBaseId": "SRCROOT"}
    assert second["locations"][0]["physicalLocation"]["artifactLocation"] == {
        "uri": "file:///elsewhere/x.py"
    }
    assert "locations" not in third


def test_an_unknown_format() -> None:
    with pytest.raises(ValueError, match="human, json or sarif"):
        render([], "xml")  # type: ignore[arg-type]


def test_every_rule_says_why_and_what_instead() -> None:
    for name, rule in RULES.items():
        assert name == rule.id and rule.title and rule.why.endswith(".") and rule.instead
        assert name == name.lower() and " " not in name


def test_time_of_the_whole_process(capsys: pytest.CaptureFixture[str]) -> None:
    code = "from temporal import config, check; print(check.render(check.run(config.load(env={}))))"
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    with capsys.disabled():
        print(f"\ncheck of this project, whole process: {time.perf_counter() - begin:.2f} s")
    assert done.stdout.startswith("No findings")
