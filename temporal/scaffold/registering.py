"""Registering in an `__init__.py` that a person wrote: an import and an append, in their places."""

from __future__ import annotations

import ast
import re


def register(text: str, module: str, name: str, into: str) -> str:
    """`text`, of an `__init__.py`, with `from module import name` and `into.append(name)`.

    The import goes to its place among the sorted ones at the top, the other line to the end. A line
    that is there already is not written again.

    Raises:
        SyntaxError: `text` is no Python.
    """
    tree = ast.parse(text)
    imported = any(
        isinstance(node, ast.ImportFrom)
        and node.module == module
        and any(alias.name == name and alias.asname is None for alias in node.names)
        for node in tree.body
    )
    appended = f"{into}.append({name})"
    lines = text.rstrip("\n").split("\n")
    if appended not in [line.strip() for line in lines]:
        lines.append(appended if _ends_with_append(tree, into) else f"\n{appended}")
    if not imported:
        at, line = _place_of_import(tree, module, f"from {module} import {name}")
        lines[at:at] = line
    return "\n".join(lines) + "\n"


def _ends_with_append(tree: ast.Module, into: str) -> bool:
    last = tree.body[-1] if tree.body else None
    return (
        isinstance(last, ast.Expr)
        and isinstance(last.value, ast.Call)
        and ast.unparse(last.value.func) == f"{into}.append"
    )


def _place_of_import(tree: ast.Module, module: str, line: str) -> tuple[int, list[str]]:
    """Before which line to insert the import (counted from 0), and the lines to insert."""
    top: list[ast.Import | ast.ImportFrom] = []
    first = 0
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            top.append(node)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and not top:
            first = node.end_lineno or 0  # the docstring
        else:
            break
    package = module.partition(".")[0]
    ours = [
        node
        for node in top
        if isinstance(node, ast.ImportFrom)
        and not node.level
        and (node.module or "").partition(".")[0] == package
    ]
    for node in ours:
        if _sort_key(module) < _sort_key(node.module or ""):
            return node.lineno - 1, [line]
    if ours:
        return ours[-1].end_lineno or 0, [line]
    if top:
        return top[-1].end_lineno or 0, ["", line]
    return first, ["", line] if first else [line, ""]


def _sort_key(module: str) -> list[tuple[int, int, str]]:
    """As isort orders modules: by their parts, with numbers as numbers."""
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part)
        for part in re.split(r"(\d+)", module.lower())
        if part
    ]
