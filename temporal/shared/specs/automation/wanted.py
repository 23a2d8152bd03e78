"""Resources as specs have them: with references where secrets go, and never a secret itself."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from converge import AnyResource
from temporal.shared.secrets import HIDDEN_INPUT, check_reference


def _references_are_references(resources: tuple[AnyResource, ...]) -> tuple[AnyResource, ...]:
    # converge takes any text for a reference; a secret typed in its place must not travel.
    for resource in resources:
        for reference in resource.secrets():
            try:
                check_reference(reference)
            except ValueError as error:
                raise PydanticCustomError(
                    HIDDEN_INPUT,
                    "{id}: a secret of it {why}",
                    {"id": resource.id, "why": str(error)},
                ) from None
    return resources


Wanted: TypeAlias = Annotated[tuple[AnyResource, ...], AfterValidator(_references_are_references)]
"""What a server should have, in the order in which it is to be made."""
