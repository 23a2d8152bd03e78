"""Plans and reports as plain text. Colours are the caller's: each line begins with its mark."""

from __future__ import annotations

from collections.abc import Sequence

from converge.changes import Change

MARKS = {"create": "+", "update": "~", "remove": "-", "unknown": "?", "blocked": "!"}
DIFF_LINES = 200


def printable(text: str) -> str:
    """One line, without what would steer a terminal: content and names come from elsewhere."""
    return "".join(c if c.isprintable() or c == "\t" else _escape(c) for c in text)


def _escape(c: str) -> str:
    return {"\n": "\\n", "\r": "\\r"}.get(c) or f"\\u{ord(c):04x}"


def render_change(change: Change) -> list[str]:
    mark = MARKS[change.action]
    kind, _, name = change.resource.partition(":")
    lines = [f"  {mark} {kind} {printable(name)}"]
    if change.why:
        label = {"unknown": "known after apply: ", "blocked": "cannot be done: "}
        lines[0] += f"   ({label.get(change.action, '')}{printable(change.why)})"
    for field in change.fields:
        if change.action in ("create", "unknown") or field.before is None:
            lines.append(f"      {field.field}: {printable(field.after or '')}")
        else:
            after = "(absent)" if field.after is None else printable(field.after)
            lines.append(f"      {field.field}: {printable(field.before)} -> {after}")
    if change.diff is not None:
        body = change.diff.splitlines()
        lines += [f"      {printable(line)}" for line in body[:DIFF_LINES]]
        if len(body) > DIFF_LINES:
            lines.append(f"      ... and {len(body) - DIFF_LINES} lines more")
    return lines


def render_plan(host: str, changes: Sequence[Change], summary: str) -> str:
    lines = [printable(host)]
    for change in changes:
        lines += render_change(change)
    return "\n".join([*lines, "", summary]) + "\n"
