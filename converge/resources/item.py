"""One item of a spec's list of resources: the key named like a type says which it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Union

from pydantic import (
    Discriminator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Tag,
    TypeAdapter,
    ValidationInfo,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from converge.resource import Resource
from converge.resources.late import Types


@dataclass(frozen=True, eq=False)
class OneOf:
    """For `Annotated[Resource, OneOf(types)]`: a resource, or data that holds the key of a type.

    Says what a tagged union of all types would say, but loads and builds only those that come
    along.
    """

    types: Types

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            self._resource,
            serialization=core_schema.simple_ser_schema("any"),  # each by its own class
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        every = tuple(Annotated[kind, Tag(key)] for key, kind in self.types.items())
        union: Any = Annotated[Union[every], Discriminator(self._key)]  # noqa: UP007
        return handler(TypeAdapter(union).core_schema)

    def _resource(self, value: Any, info: ValidationInfo) -> Resource:
        if isinstance(value, Resource):
            return value
        key = self._key(value)
        if key is None:
            raise self._refusal(value)
        # What this raises becomes part of the error of the whole, at the place of the item in it.
        return reader(self.types[key]).validate_python(value, context=info.context)

    def _key(self, value: Any) -> str | None:
        if not isinstance(value, Mapping):
            return None
        keys = [key for key in self.types if key in value]
        if len(keys) > 1:
            # One type's name may be another's field: the type with room for all of them it is.
            keys = [k for k in keys if all(o in self.types[k].model_fields for o in keys)]
        return keys[0] if len(keys) == 1 else None

    def _refusal(self, value: Any) -> PydanticCustomError:
        known = ", ".join(self.types)
        if not isinstance(value, Mapping):
            return PydanticCustomError(
                "resource_type",
                "a resource is a mapping such as 'package: nginx'; types: {known}",
                {"known": known},
            )
        several = [key for key in self.types if key in value]
        if several:
            return PydanticCustomError(
                "resource_type",
                "is two resources in one item ({keys}): begin each with its own '-'",
                {"keys": " and ".join(several)},
            )
        import difflib

        near = [
            f"{match} for {key}"
            for key in value
            for match in difflib.get_close_matches(str(key).lower(), self.types, 1, 0.6)
        ]
        hint = f"; perhaps you meant {near[0]}" if near else ""
        return PydanticCustomError(
            "resource_type",
            "names no resource type among its keys ({keys}); types: {known}{hint}",
            {"keys": ", ".join(map(str, value)), "known": known, "hint": hint},
        )


class _Tagged:
    """A union of one: its errors begin with the key, as those of a union of all would."""

    def __get_pydantic_core_schema__(
        self, source: type[Resource], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        key = source.key
        return core_schema.tagged_union_schema({key: handler(source)}, lambda value: key)


_readers: dict[type[Resource], TypeAdapter[Resource]] = {}


def reader(kind: type[Resource]) -> TypeAdapter[Resource]:
    """Reads data of one type, built once."""
    if kind not in _readers:
        kind.model_rebuild()  # else it would be built here, and once more for itself
        tagged: Any = Annotated[kind, _Tagged()]
        _readers[kind] = TypeAdapter(tagged)
    return _readers[kind]
