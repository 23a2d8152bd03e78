"""Spec files: YAML (or JSON, which is YAML) to a pydantic model, with errors that point at the line.

    spec = read(Path("examples/servers/web.yml"), ServerSpec)

Only YAML's safe types are read; a key that stands twice is refused, since YAML would silently keep
the last one.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from temporal.shared.errors import SpecError
from temporal.shared.secrets import HIDDEN_INPUT
from temporal.shared.specs.fields import fields

T = TypeVar("T")
_MAX_SHOWN = 80
_MAX_BYTES = 4 * 1024 * 1024
_MOST_NODES = 500_000


class _Loader(yaml.SafeLoader):
    """The safe loader, without the guess that `2026-11-22` is a date: specs hold text. Nor is a key
    `on`, `no` or `yes` a truth value: it is the name of a field."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:bool":
                key.tag = "tag:yaml.org,2002:str"
        super().flatten_mapping(node)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag != "tag:yaml.org,2002:timestamp"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


Loc: TypeAlias = tuple[int | str, ...]


@dataclass(frozen=True)
class Reading:
    """What stands in a spec file, made ready for its model.

    Attributes:
        value: what the model is made of.
        origins: where the items of a list stood before some of them became several, or none.
    """

    value: Any
    origins: Mapping[str, Sequence[Loc]] = field(default_factory=dict)


class Misfit(Exception):
    """Made ready, a spec turns out wrong: at `loc`, for `message`, as pydantic says it.

    Attributes:
        items: (loc, message, what came) of each finding.
    """

    def __init__(self, *items: tuple[Loc, str, Any]) -> None:
        self.items = items
        super().__init__("; ".join(message for _, message, _ in items))


def read(
    path: Path,
    model: type[T],
    given: Mapping[str, Any] | None = None,
    added: Mapping[str, Mapping[str, Any]] | None = None,
) -> T:
    """The spec in file `path`. Raises SpecError.

    Args:
        given: takes the place of what stands there.
        added: goes into the mappings that stand there, and wins over what they hold.
    """
    text = read_text(path)
    return parse(text, model, str(path), folder=path.parent, given=given, added=added)


def read_text(path: Path) -> str:
    """The text of spec file `path`. Raises SpecError where it cannot be read."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise SpecError(f"{path}: over {_MAX_BYTES} bytes; that is no spec")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror}") from None


def plain(text: str, name: str) -> Any:
    """The value that YAML `text` holds; `name` is what errors call it. Raises SpecError."""
    return _construct(_compose(text, name), name)


def parse(
    text: str,
    model: type[T],
    name: str,
    *,
    folder: Path | None = None,
    given: Mapping[str, Any] | None = None,
    added: Mapping[str, Mapping[str, Any]] | None = None,
    within: Loc = (),
) -> T:
    """YAML `text` as a `model`; `name` is what errors call the text.

    With `within` it is what stands there in the text, as in `("schedules", "nightly", "input")`.

    A model with a `read_as` makes its value ready by that: it gets the value and `folder`, which is
    what relative paths in the text start from (default: the working directory).

    Raises:
        SpecError: one line for each finding, as file:line: field: what is wrong, and what came.
    """
    node = _inside(_compose(text, name), within)
    adapter = TypeAdapter(model)
    value = _construct(node, name)
    if isinstance(value, dict):
        value |= given or {}
        for key, more in (added or {}).items():
            there = value.get(key) or {}
            if isinstance(there, dict):  # else what stands there does not fit, and that is told
                value[key] = {**there, **more}
    ready = Reading(value)
    try:
        make_ready: Callable[[Any, Path], Reading] | None = getattr(model, "read_as", None)
        if make_ready is not None:
            ready = make_ready(value, folder or Path())
        return adapter.validate_python(ready.value)
    except Misfit as error:
        lines = [
            _finding({"loc": loc, "msg": message, "type": "misfit", "input": came}, node, name, {})
            for loc, message, came in error.items
        ]
        raise SpecError("\n".join(line for _, line in sorted(dict.fromkeys(lines)))) from None
    except ValidationError as error:
        schema = adapter.json_schema()
        items: list[dict[str, Any]] = [
            {**item, "loc": _original(item["loc"], ready)}
            for item in error.errors(include_url=False)
        ]
        deeper = {item["loc"][:end] for item in items for end in range(len(item["loc"]))}
        found = [
            _finding(item, node, name, schema)
            for item in items
            # Items that do not fit are dropped, and then there are too few: that is no finding.
            if not (item["type"] == "too_short" and item["loc"] in deeper)
        ]
        raise SpecError("\n".join(line for _, line in sorted(dict.fromkeys(found)))) from None


def place(text: str, name: str, loc: Loc) -> str:
    """Where in YAML `text` something stands, as errors say it: `file:line: field`."""
    line, path = _locate(_compose(text, name), loc)
    return f"{name}:{line}: {path}"


def _inside(node: yaml.Node, loc: Loc) -> yaml.Node:
    for part in loc:
        assert isinstance(node, yaml.MappingNode), loc
        node = next(value for key, value in node.value if key.value == part)
    return node


def _original(loc: Loc, ready: Reading) -> Loc:
    """Where in the file something stood that is at `loc` now."""
    moved = ready.origins.get(str(loc[0])) if len(loc) > 1 else None
    if moved is None or not isinstance(loc[1], int) or loc[1] >= len(moved):
        return loc
    return (*moved[loc[1]], *loc[2:])


def _compose(text: str, name: str) -> yaml.Node:
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise SpecError(f"{_at(name, error)}: is not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise SpecError(f"{name}: is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise SpecError(f"{name}: is nested too deeply") from None
    if node is None:
        raise SpecError(f"{name}: is empty")
    if _nodes(node, name, {}) > _MOST_NODES:
        raise SpecError(f"{name}: holds over {_MOST_NODES} values once its aliases are followed")
    _refuse_doubled_keys(node, name)
    return node


def _at(name: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name


def _nodes(node: yaml.Node, name: str, known: dict[int, int]) -> int:
    """How many values there are with each alias counted as what it stands for: a few lines can
    stand for billions, and a node may hold itself."""
    if id(node) in known:
        if not known[id(node)]:
            raise SpecError(f"{name}:{node.start_mark.line + 1}: holds itself")
        return known[id(node)]
    known[id(node)] = 0
    count = 1
    if isinstance(node, yaml.MappingNode):
        count += sum(_nodes(part, name, known) for pair in node.value for part in pair)
    elif isinstance(node, yaml.SequenceNode):
        count += sum(_nodes(part, name, known) for part in node.value)
    known[id(node)] = count
    return count


def _refuse_doubled_keys(root: yaml.Node, name: str) -> None:
    seen_nodes: set[int] = set()
    todo = [root]
    while todo:
        node = todo.pop()
        if id(node) in seen_nodes:
            continue
        seen_nodes.add(id(node))
        if isinstance(node, yaml.MappingNode):
            first: dict[str, int] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                    if key.value in first:
                        raise SpecError(
                            f"{name}:{line}: {key.value}: stands twice, first in line "
                            f"{first[key.value]}; YAML would keep only the last one"
                        )
                    first[key.value] = line
                todo.append(value)
        elif isinstance(node, yaml.SequenceNode):
            todo.extend(node.value)


def _construct(node: yaml.Node, name: str) -> Any:
    loader = _Loader("")
    try:
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise SpecError(f"{_at(name, error)}: {error.problem}") from None
    except (ValueError, TypeError, OverflowError, LookupError, AttributeError) as error:
        # A value that does not fit its own tag, as in `!!int x`; PyYAML does not say where.
        raise SpecError(f"{name}: holds a value that does not fit its tag: {error}") from None
    finally:
        loader.dispose()


def _finding(item: Any, root: yaml.Node, name: str, schema: dict[str, Any]) -> tuple[int, str]:
    line, path = _locate(root, item["loc"])
    message = item["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if item["type"] == "extra_forbidden":
        field = str(item["loc"][-1])
        near = difflib.get_close_matches(field, fields(schema, item["loc"][:-1]), n=2, cutoff=0.6)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        return line, f"{name}:{line}: {path}: there is no such field{hint}"
    if item["type"] == "missing":
        return line, f"{name}:{line}: {path}: is missing"
    if item["type"] == HIDDEN_INPUT:  # a secret that stands where its reference belongs
        return line, f"{name}:{line}: {path or 'the spec'}: {message}"
    came = item.get("input")
    if (came is None and item["type"] in ("misfit", "value_error")) or (
        not item["loc"] and isinstance(came, Mapping)
    ):  # nothing came, or it is the whole file, part of it made ready already
        return line, f"{name}:{line}: {path or 'the spec'}: {message}"
    shown = repr(came)
    shown = shown if len(shown) <= _MAX_SHOWN else shown[: _MAX_SHOWN - 1] + "…"
    return line, f"{name}:{line}: {path or 'the spec'}: {message} (it is {shown})"


def _locate(root: yaml.Node, loc: tuple[int | str, ...]) -> tuple[int, str]:
    """Line (from 1) and readable path of a pydantic location in the YAML tree.

    A location names, beside keys and indices, which member of a union was tried: what the tree
    does not have is passed over, unless it is the last, which then is a field that is missing.
    """
    node, line, path = root, root.start_mark.line + 1, ""
    for position, part in enumerate(loc):
        found = None
        last = position == len(loc) - 1
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == part), None)
        if found and (last or not isinstance(found[1], yaml.ScalarNode)):
            line, node = found[0].start_mark.line + 1, found[1]
            path += f".{part}" if path else str(part)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            if part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
                path += f"[{part}]"
        elif last and isinstance(part, str) and part.isidentifier():
            path += f".{part}" if path else str(part)
    return line, path
