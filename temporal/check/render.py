"""Findings as text for people, JSON for scripts, SARIF 2.1.0 for code scanning."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from temporal import __version__
from temporal.check.findings import Finding
from temporal.check.rules import RULES

Format = Literal["human", "json", "sarif"]
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def render(findings: Sequence[Finding], format: Format = "human", root: Path | None = None) -> str:
    """`findings` as one text without a last newline.

    Args:
        format: "human", "json" or "sarif".
        root: paths below it are shown relative to it; default: the working folder.

    Raises:
        ValueError: an unknown format.
    """
    base = (root or Path.cwd()).resolve()
    if format == "human":
        return _human(findings, base)
    if format == "json":
        return json.dumps(_plain(findings, base), indent=2)
    if format == "sarif":
        return json.dumps(_sarif(findings, base), indent=2)
    raise ValueError(f"format must be human, json or sarif, not {format!r}")


def _human(findings: Sequence[Finding], root: Path) -> str:
    lines = []
    for one in findings:
        place = f"{_shown(one.file, root)}:{one.line}:{one.column}: " if one.file else ""
        lines.append(f"{place}{one.severity}: {one.message} [{one.rule}]")
        lines += [f"    {line}" for line in f"instead: {one.instead}".splitlines()]
    lines.append(_summary(findings))
    return "\n".join(lines)


def _summary(findings: Sequence[Finding]) -> str:
    if not findings:
        return "No findings: everything is wired, and workflow code is deterministic."
    by = Counter(one.severity for one in findings)
    parts = [
        f"{by[severity]} {severity}{'' if by[severity] == 1 else 's'}"
        for severity in ("error", "warning", "note")
        if by[severity]
    ]
    files = len({one.file for one in findings if one.file})
    return ", ".join(parts) + (f" in {files} file{'' if files == 1 else 's'}" if files else "")


def _plain(findings: Sequence[Finding], root: Path) -> dict[str, Any]:
    by = Counter(one.severity for one in findings)
    return {
        "findings": [
            {
                "rule": one.rule,
                "severity": one.severity,
                "message": one.message,
                "file": _shown(one.file, root) if one.file else None,
                "line": one.line if one.file else None,
                "column": one.column if one.file else None,
                "instead": one.instead,
            }
            for one in findings
        ],
        "summary": {severity: by[severity] for severity in ("error", "warning", "note")},
    }


def _sarif(findings: Sequence[Finding], root: Path) -> dict[str, Any]:
    index = {rule: number for number, rule in enumerate(RULES)}
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "temporal-ops check",
                        "version": __version__,
                        "rules": [
                            {
                                "id": rule.id,
                                "shortDescription": {"text": rule.title},
                                "fullDescription": {"text": rule.why},
                                "help": {"text": rule.instead},
                                "defaultConfiguration": {"level": rule.severity},
                            }
                            for rule in RULES.values()
                        ],
                    }
                },
                "originalUriBaseIds": {"SRCROOT": {"uri": root.as_uri() + "/"}},
                "columnKind": "unicodeCodePoints",
                "results": [
                    {
                        "ruleId": one.rule,
                        "ruleIndex": index[one.rule],
                        "level": one.severity,
                        "message": {"text": f"{one.message}. Instead: {one.instead}"},
                        **({"locations": [_location(one, root)]} if one.file else {}),
                    }
                    for one in findings
                ],
            }
        ],
    }


def _location(one: Finding, root: Path) -> dict[str, Any]:
    assert one.file is not None
    artifact = (
        {"uri": quote(one.file.relative_to(root).as_posix()), "uriBaseId": "SRCROOT"}
        if one.file.is_relative_to(root)
        else {"uri": one.file.as_uri()}
    )
    return {
        "physicalLocation": {
            "artifactLocation": artifact,
            "region": {"startLine": one.line, "startColumn": one.column},
        }
    }


def _shown(file: Path | None, root: Path) -> str:
    if file is None:
        return ""
    return str(file.relative_to(root) if file.is_relative_to(root) else file)
