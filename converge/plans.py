"""A plan: what would change on one host, as a value that can be stored, shown and approved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from converge.changes import Change
from converge.graph import digest
from converge.render import render_plan
from converge.resources import AnyResource


class Plan(BaseModel):
    """What is wanted on a host and what has to change for it.

    `digest` covers host, resources and changes: two plans with the same digest would do the
    same. Secret values are in none of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    host: str
    resources: tuple[AnyResource, ...]
    changes: tuple[Change, ...]
    """In the order they are made; resources that are as wanted have none."""
    digest: str = ""

    @model_validator(mode="after")
    def _sealed(self) -> Self:
        actual = digest(
            [
                self.host,
                [resource.model_dump(mode="json") for resource in self.resources],
                [change.model_dump(mode="json") for change in self.changes],
            ]
        )
        if self.digest and self.digest != actual:
            raise ValueError("the plan was altered after it was made: its digest does not fit")
        object.__setattr__(self, "digest", actual)
        return self

    @property
    def empty(self) -> bool:
        """Is the host as wanted?"""
        return not self.changes

    @property
    def unchanged(self) -> int:
        return len(self.resources) - len(self.changes)

    def count(self, *actions: str) -> int:
        return sum(change.action in actions for change in self.changes)

    @property
    def summary(self) -> str:
        return summary(self.changes, self.unchanged)

    def render(self) -> str:
        """As people know it from Terraform: + create, ~ change, - remove, ? known after apply."""
        return render_plan(self.host, self.changes, self.summary)


def summary(changes: Sequence[Change], unchanged: int) -> str:
    """A plan in one line."""
    if not changes:
        return f"No changes. {unchanged} resources are as declared."
    count = Counter(change.action for change in changes)
    parts = [
        f"{count['create']} to create",
        f"{count['update']} to change",
        f"{count['remove']} to remove",
    ]
    if count["unknown"]:
        parts.append(f"{count['unknown']} known after apply")
    if count["blocked"]:
        parts.append(f"{count['blocked']} blocked")
    return f"Plan: {', '.join(parts)}, {unchanged} unchanged."
