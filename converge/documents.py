"""YAML files whose values know their line. Safe types only; a key that stands twice is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from converge.errors import ConvergeError

_MOST_BYTES = 16 * 1024 * 1024
_PLAIN = "tag:yaml.org,2002:"


class DocumentError(ConvergeError):
    """A file cannot be read; the message names file and line."""


class _Loader(yaml.SafeLoader):
    """The safe loader, without the guess that 2026-11-22 is a date; told tags are refused."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag != "tag:yaml.org,2002:timestamp"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True)
class Document:
    """A value and the tree it was read from."""

    name: str
    value: Any
    root: yaml.Node

    def line(self, *loc: int | str) -> int:
        """Line (from 1) of what lies at `loc`, or of the nearest thing above it."""
        node, line = self.root, self.root.start_mark.line + 1
        for part in loc:
            if isinstance(node, yaml.MappingNode):
                found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
                if found is None:
                    continue
                line, node = found[0].start_mark.line + 1, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
                if part >= len(node.value):
                    break
                node = node.value[part]
                line = node.start_mark.line + 1
        return line

    def at(self, *loc: int | str) -> str:
        """file:line of what lies at `loc`."""
        return f"{self.name}:{self.line(*loc)}"


def read_document(path: Path) -> Document:
    """Raises DocumentError."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DocumentError(f"{path}: over {_MOST_BYTES} bytes")
        return parse_document(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise DocumentError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise DocumentError(f"{path}: {error.strerror}") from None


def parse_document(text: str, name: str) -> Document:
    """Raises DocumentError. An empty text is None."""
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return Document(name, None, yaml.ScalarNode("", "", yaml.Mark(name, 0, 0, 0, None, 0)))
        _refuse(root, name)
        return Document(name, loader.construct_document(root), root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        raise DocumentError(f"{where}: is not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise DocumentError(f"{name}: is not YAML: {' '.join(str(error).split())}") from None
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise DocumentError(f"{name}: cannot be read: {error}") from None
    finally:
        loader.dispose()


def _refuse(root: yaml.Node, name: str) -> None:
    """What safe YAML would let pass and nobody means: doubled keys, told tags, endless aliases."""
    seen: set[int] = set()
    todo = [root]
    while todo:
        node = todo.pop()
        line = node.start_mark.line + 1
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.tag in ("!vault", "!vault-encrypted"):
            raise DocumentError(
                f"{name}:{line}: holds a value encrypted by ansible-vault, which cannot be read here:"
                " put a secret reference in its place, such as env://NAME, file:///path or exec://"
            )
        if not node.tag.startswith(_PLAIN) or node.tag.startswith(f"{_PLAIN}python/"):
            raise DocumentError(f"{name}:{line}: holds {node.tag}, and only plain YAML is read")
        if isinstance(node, yaml.MappingNode):
            first: dict[str, int] = {}
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                    if key.value in first:
                        raise DocumentError(
                            f"{name}:{key.start_mark.line + 1}: {key.value}: stands twice, first in"
                            f" line {first[key.value]}"
                        )
                    first[key.value] = key.start_mark.line + 1
                todo.append(value)
        elif isinstance(node, yaml.SequenceNode):
            todo += node.value
