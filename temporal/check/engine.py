"""One check of one project, from settings to findings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from temporal import registry as registries
from temporal.check import awaiting, blocking, determinism, heartbeat, order, typed, wiring
from temporal.check.context import Context
from temporal.check.definitions import from_files, from_registry
from temporal.check.findings import Finding
from temporal.check.project import Project
from temporal.check.resolve import Resolver
from temporal.check.rules import RULES
from temporal.check.suppress import suppress
from temporal.config import Settings
from temporal.registry import Registry
from temporal.shared.errors import RegistryError

_GROUPS = (wiring, determinism, order, awaiting, heartbeat, blocking, typed)
_AT_START = re.compile(r"(?P<file>[^\n:]+\.py):(?:(?P<line>\d+):)? (?P<rest>.*)", re.DOTALL)
_AT_END = re.compile(r"(?P<rest>.*) \((?P<file>[^\n:()]+\.py):(?P<line>\d+)\)", re.DOTALL)


def run(settings: Settings, registry: Registry | None = None) -> list[Finding]:
    """Check every registered workflow and activity, without a server and without running any.

    Args:
        settings: which packages, and the queue of each domain.
        registry: what :func:`temporal.registry.load` gave; None loads it here, and turns each of
            its problems into a finding. The other rules then go by what the files decorate.

    Returns:
        Findings by file and line; empty if all is well.
    """
    findings: list[Finding] = []
    if registry is None:
        try:
            registry = registries.load(settings)
        except RegistryError as error:
            findings += [_problem(text) for text in error.problems]
    packages = registry.packages if registry else ("temporal", *settings.modules)
    names = Resolver(Project(packages))
    definitions = from_registry(registry, names) if registry else from_files(settings, names)
    context = Context(names, definitions)
    for group in _GROUPS:
        findings += group.find(context)
    return sorted(_once(suppress(findings, names.project.loaded())), key=lambda one: one.place)


def _once(findings: Iterable[Finding]) -> Iterator[Finding]:
    """One finding of a rule at one place, however many ways lead there."""
    seen = set()
    for one in findings:
        key = (one.rule, one.file, one.line, one.column, one.message if not one.file else "")
        if key not in seen:
            seen.add(key)
            yield one


def _problem(text: str) -> Finding:
    """A problem of the registry as a finding, placed where its text says."""
    rule = RULES["registry"]
    found = _AT_START.fullmatch(text) or _AT_END.fullmatch(text)
    if not found:
        return Finding(rule.id, rule.severity, text, None, 0, 0, rule.instead)
    message, _, advice = found["rest"].partition("; add to ")
    instead = f"Add to {advice}" if advice else rule.instead
    line = int(found["line"] or 1)
    return Finding(rule.id, rule.severity, message, Path(found["file"]), line, 1, instead)
