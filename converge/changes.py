"""What differs on one resource, as data. Never holds a secret value, old or new."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

KNOWN_AFTER_APPLY = "(known after apply)"
SENSITIVE = "(sensitive)"

Action = Literal["create", "update", "remove", "unknown", "blocked"]


class FieldChange(BaseModel):
    """One field: what was found and what is wanted. None = not there."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    field: str
    before: str | None
    after: str | None


class Change(BaseModel):
    """What one resource needs.

    `unknown`: only the host can tell, once what comes before is done; it decides then.
    `blocked`: this cannot be done, and `why` says what stands in the way.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    resource: str
    action: Action
    fields: tuple[FieldChange, ...] = ()
    diff: str | None = None
    """Unified diff of a text file, if it may be shown and is not too long."""
    why: str = ""

    @property
    def wanted(self) -> str:
        return ", ".join(f"{f.field} {_show(f.after)}" for f in self.fields)

    @property
    def found(self) -> str:
        return ", ".join(f"{f.field} {_show(f.before)}" for f in self.fields)


def _show(value: str | None) -> str:
    return "absent" if value is None else value
