"""What the trial workflows are given."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class Call(BaseModel):
    """One activity to call: its name, its arguments, and options as seconds."""

    activity: str
    args: list[Any] = []
    options: dict[str, float] = {}
    queue: str | None = None
    attempts: int | None = None
    local: bool = False


class Item(BaseModel):
    """A result with a type of its own."""

    name: str
    size: int
