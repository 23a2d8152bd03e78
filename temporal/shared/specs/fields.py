"""Which fields there are at a place of a model, for errors that offer the near ones."""

from __future__ import annotations

import re
from typing import Any


def fields(schema: dict[str, Any], loc: tuple[int | str, ...]) -> set[str]:
    """The fields that a model's JSON schema has at `loc`.

    Of a union the location names the member that was tried, by its tag or its title; a name that
    tells none of them apart leaves all.
    """
    defs = schema.get("$defs", {})
    here = _members(schema, defs)
    for part in loc:
        if isinstance(part, int):
            inner = [item for each in here for item in _items(each, part)]
        else:
            inner = [found for each in here for found in _values(each, part)]
        tag = isinstance(part, str) and len(here) > 1
        tried = [each for each in here if _is_called(each, part)] if tag else []
        if tried:
            here = tried
        elif inner:
            here = [member for each in inner for member in _members(each, defs)]
    return {name for each in here for name in each.get("properties", {})}


def _members(schema: dict[str, Any], defs: dict[str, Any]) -> list[dict[str, Any]]:
    """What a value may be by this schema: it alone, or each of a union."""
    if "$ref" in schema:
        return _members(defs[schema["$ref"].rpartition("/")[2]], defs)
    union = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]
    return [found for each in union for found in _members(each, defs)] if union else [schema]


def _values(schema: dict[str, Any], key: str) -> list[dict[str, Any]]:
    if key in schema.get("properties", {}):
        return [schema["properties"][key]]
    others = [*schema.get("patternProperties", {}).values(), schema.get("additionalProperties")]
    return [each for each in others if isinstance(each, dict)]


def _items(schema: dict[str, Any], position: int) -> list[dict[str, Any]]:
    first = schema.get("prefixItems", [])
    found = first[position] if position < len(first) else schema.get("items")
    return [found] if isinstance(found, dict) else []


def _is_called(schema: dict[str, Any], name: int | str) -> bool:
    """Whether the union's member is the one that pydantic calls `name`: a resource by its type, which
    `file` is for File and `apt_repository` for AptRepository; others by their title."""
    title = re.sub(r"[^a-z0-9]", "", str(schema.get("title", "")).lower())
    return bool(title) and title == re.sub(r"[^a-z0-9]", "", str(name).lower())
