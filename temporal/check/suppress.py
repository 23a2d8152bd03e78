"""Comments that take a finding back: `# check: ignore[rule-id] the reason`.

The comment stands on the line of the finding. The reason is not optional.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterable

from temporal.check.findings import Finding
from temporal.check.rules import RULES
from temporal.check.source import Module

_COMMENT = re.compile(r"#\s*check:\s*ignore(?:\[([^\]]*)\])?\s*(.*)")


def suppress(findings: Iterable[Finding], modules: Iterable[Module]) -> list[Finding]:
    """`findings` without those that a comment takes back, and with the comments that are wrong."""
    valid: set[tuple[str, int, str]] = set()
    wrong: list[Finding] = []
    for module in modules:
        if "check:" not in module.text:
            continue
        for line, column, comment in _comments(module.text):
            found = _COMMENT.match(comment)
            if not found:
                continue
            rules = [rule.strip() for rule in (found[1] or "").split(",") if rule.strip()]
            problem = _problem(rules, found[2])
            if problem:
                rule = RULES["bad-suppression"]
                wrong.append(
                    Finding(
                        rule.id, rule.severity, problem, module.file, line, column, rule.instead
                    )
                )
            else:
                valid |= {(str(module.file), line, rule) for rule in rules}
    return [f for f in findings if (str(f.file), f.line, f.rule) not in valid] + wrong


def _problem(rules: list[str], reason: str) -> str:
    if not rules:
        return "a suppression names no rule"
    unknown = [rule for rule in rules if rule not in RULES]
    if unknown:
        return f"a suppression names {unknown[0]!r}, which is no rule"
    if not reason.strip():
        return f"a suppression of {rules[0]} gives no reason"
    return ""


def _comments(text: str) -> Iterable[tuple[int, int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and "check:" in token.string:
            start = token.string.index("check:")
            hash_at = token.string.rindex("#", 0, start) if "#" in token.string[:start] else 0
            yield token.start[0], token.start[1] + hash_at + 1, token.string[hash_at:]
