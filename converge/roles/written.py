"""Roles written in YAML: parameters with types and defaults, and resources with templates in them.

    summary: a message for whoever logs in
    parameters:
      text: string                                # needed
      users: {type: list of string, default: []}
      color: {type: string, one_of: [red, green], default: red}
    resources:
      - file: /etc/motd
        content: "{{ text }}"
      - user: "{{ item }}"
        each: users                               # once for each
        when: users                               # only if true

A value that is one expression keeps its kind: a list stays a list. Templates are Jinja2's, sandboxed:
no code runs, and nothing outside of parameters and `vars` can be reached.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter, ValidationError, create_model

from converge.documents import Document, DocumentError, read_document
from converge.resource import Resource
from converge.roles.beside import Nested, RoleError
from converge.roles.role import Parameters, Role

_PLAIN: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "mapping": dict[str, Any],
    "list": list[Any],
    "any": Any,
}
_LIST: Any = list
_MAPPING: Any = dict
_WHOLE = re.compile(r"\{\{(?P<code>(?:(?!\}\}|\{\{).)*)\}\}", re.DOTALL)
_CONTROL = {"each", "when"}


class WrittenRole(Role):
    """Its parameters come from the file, not from a signature."""

    def __init__(self, name: str, model: type[BaseModel], make: Any, summary: str) -> None:
        super().__init__(name, make, summary)
        self.__dict__["parameters"] = model


def read_role(name: str, path: Path, variables: Mapping[str, Any], nested: Nested) -> Role:
    """Raises RoleError, naming file and line."""
    try:
        document = read_document(path)
    except DocumentError as error:
        raise RoleError(str(error)) from None
    value = document.value
    if not isinstance(value, Mapping) or not isinstance(value.get("resources"), Sequence):
        raise RoleError(f"{path}:1: a role has `resources`, a list, and perhaps `parameters`")
    for key in value:
        if key not in ("summary", "parameters", "resources"):
            raise RoleError(f"{document.at(key)}: {key}: a role has no such part")
    model = _parameters(name, document)

    def make(**given: Any) -> list[Resource]:
        return _resources(document, {**given, "vars": dict(variables)}, nested)

    return WrittenRole(name, model, make, str(value.get("summary", "")))


def _parameters(name: str, document: Document) -> type[BaseModel]:
    declared = document.value.get("parameters") or {}
    if not isinstance(declared, Mapping):
        raise RoleError(f"{document.at('parameters')}: parameters: must be a mapping")
    fields: dict[str, Any] = {}
    for key, about in declared.items():
        where = document.at("parameters", key)
        if not isinstance(key, str) or not key.isidentifier() or key in ("vars", "item"):
            raise RoleError(f"{where}: {key!r} is no name for a parameter")
        if isinstance(about, str):
            about = {"type": about}
        if not isinstance(about, Mapping) or set(about) - {
            "type",
            "default",
            "one_of",
            "description",
        }:
            raise RoleError(
                f"{where}: {key}: is a type, or a mapping of type, default, one_of, description"
            )
        kind = _type(about, f"{where}: {key}")
        default = about.get("default", ...)
        if default is not ...:
            try:
                TypeAdapter(kind).validate_python(default, strict=True)
            except ValidationError as error:
                said = error.errors()[0]["msg"]
                raise RoleError(f"{where}: {key}: its default does not fit: {said}") from None
        fields[key] = (kind, default)
    return create_model(f"{name}_parameters", __base__=Parameters, **fields)


def _type(about: Mapping[str, Any], where: str) -> Any:
    if "one_of" in about:
        choices = about["one_of"]
        if not isinstance(choices, list) or not choices:
            raise RoleError(f"{where}: one_of must be a list of values")
        return Literal[tuple(choices)]
    said = str(about.get("type", "any"))
    for prefix in ("list of ", "mapping of "):
        if said.startswith(prefix):
            inner: Any = _type({"type": said.removeprefix(prefix)}, where)
            return _LIST[inner] if prefix == "list of " else _MAPPING[str, inner]
    if said not in _PLAIN:
        raise RoleError(
            f"{where}: there is no type {said!r}; there are {', '.join(_PLAIN)}, list of ...,"
            " mapping of ..."
        )
    return _PLAIN[said]


def _resources(document: Document, names: Mapping[str, Any], nested: Nested) -> list[Resource]:
    from converge.resources import AnyResource
    from converge.roles.expanding import RoleMisfit

    adapter: TypeAdapter[Any] = TypeAdapter(AnyResource)
    made: list[Resource] = []
    for index, item in enumerate(document.value["resources"]):
        where = document.at("resources", index)
        if not isinstance(item, Mapping):
            raise RoleError(f"{where}: a resource is a mapping such as `package: nginx`")
        body = {key: value for key, value in item.items() if key not in _CONTROL}
        for scope in _scopes(item, names, where):
            try:
                filled = _filled(body, scope)
                if "role" in filled:
                    made += nested(filled)
                else:
                    made.append(adapter.validate_python(filled))
            except RoleMisfit as error:
                raise RoleError(f"{where}: {error}") from None
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                loc = first["loc"][1:]  # the first names the type
                line = document.at("resources", index, *loc)
                field = ".".join(map(str, loc))
                said = first["msg"].removeprefix("Value error, ")
                if first["type"] == "extra_forbidden":
                    said = "there is no such field"
                raise RoleError(f"{line}: {field or 'resource'}: {said}") from None
            except ValueError as error:
                raise RoleError(f"{where}: {error}") from None
    return made


def _scopes(item: Mapping[str, Any], names: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    try:
        each = [None] if "each" not in item else _expression(item["each"], names)
        if isinstance(each, Mapping):
            each = [{"key": key, "value": value} for key, value in each.items()]
        if isinstance(each, str) or not isinstance(each, Sequence):
            raise ValueError("each: must be a list or a mapping")
        scopes = [{**names, **({"item": one} if "each" in item else {})} for one in each]
        if "when" not in item:
            return scopes
        return [scope for scope in scopes if _expression(item["when"], scope)]
    except ValueError as error:
        raise RoleError(f"{where}: {error}") from None


def _expression(written: Any, names: Mapping[str, Any]) -> Any:
    if not isinstance(written, str):
        return written
    found = _WHOLE.fullmatch(written.strip())
    return _evaluate(found["code"] if found else written, names)


def _filled(value: Any, names: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        if "{{" not in value and "{%" not in value:
            return value
        found = _WHOLE.fullmatch(value.strip()) if "{%" not in value else None
        return _evaluate(found["code"], names) if found else _text(value, names)
    if isinstance(value, Mapping):
        return {_filled(key, names): _filled(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, names) for inner in value]
    return value


def _environment() -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True
    )


def _evaluate(code: str, names: Mapping[str, Any]) -> Any:
    from jinja2 import TemplateError, Undefined

    try:
        value = _environment().compile_expression(code, undefined_to_none=False)(**names)
        if isinstance(value, Undefined):
            str(value)  # raises, and says which name it was
        return list(value) if isinstance(value, tuple) else value
    except (TemplateError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
        raise ValueError(f"template {{{{{code}}}}}: {error}") from None


def _text(written: str, names: Mapping[str, Any]) -> str:
    from jinja2 import TemplateError

    try:
        return str(_environment().from_string(written).render(**names))
    except (TemplateError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
        first = written.strip().partition("\n")[0]
        raise ValueError(f"template {first!r}: {error}") from None
