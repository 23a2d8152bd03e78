"""What every resource is, and the four pure things its type knows.

A type is one module under `resources/`: a frozen model plus
    probe   resources of this type -> one piece of sh that prints what they are like
    parse   those bytes -> the state of each
    diff    wanted, state -> a change or None
    emit    changes -> one piece of sh that makes them, and that does nothing where nothing is
            to be done (it runs on hosts that may have moved on since the probe)
No I/O in any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

from converge.changes import Change


def _reference(value: Any) -> Any:
    """A resource, `{"file": "/etc/motd"}` or "file:/etc/motd" -> "file:/etc/motd"."""
    if isinstance(value, Resource):
        return value.id
    if isinstance(value, Mapping):
        if len(value) != 1:
            raise ValueError("a reference is one type and one name, such as {file: /etc/motd}")
        ((kind, name),) = value.items()
        return f"{kind}:{name}"
    return value


def _plain_reference(value: str) -> str:
    kind, colon, name = value.partition(":")
    if not (kind and colon and name.strip()):
        raise ValueError(f"{value!r} is no reference: write file:/etc/motd or {{file: /etc/motd}}")
    if kind == "service":
        name = name.removesuffix(".service")
    return f"{kind}:{name.strip()}"


Ref = Annotated[
    str,
    BeforeValidator(_reference),
    AfterValidator(_plain_reference),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": "^[a-z_]+:.+"},
                {
                    "type": "object",
                    "minProperties": 1,
                    "maxProperties": 1,
                    "additionalProperties": {"type": "string"},
                },
            ],
        }
    ),
]
"""Names another resource. In Python the resource itself will do."""


@dataclass(frozen=True)
class State:
    """What the probe found. `unknown` says why; each type adds its own fields."""

    status: Literal["present", "absent", "unknown"]
    why: str = ""


@dataclass(frozen=True)
class Around:
    """What a diff must know of the other resources."""

    packages: tuple[str, ...] = ()
    """Packages that change before this: they may bring users, files and services."""
    triggers: tuple[str, ...] = ()
    """Of the resources in `on_change`, those that change in this plan."""
    provided: frozenset[str] = frozenset()
    """Tokens of everything declared: "user:deploy", "group:deploy", "path:/srv"."""

    @property
    def bringers(self) -> str:
        """The packages in few words."""
        first, others = self.packages[:2], len(self.packages) - 2
        return ", ".join(first) + (f" or {others} more" if others > 0 else "")


@dataclass(frozen=True)
class Context:
    """What compiling needs beside the resources."""

    secrets: Mapping[str, bytes] = field(default_factory=dict)
    want_content: bool = True
    """Should a probe bring back the old text of files that differ?"""
    bodies: Mapping[str, bytes] = field(default_factory=dict)
    """By resource id: what was composed on the controller (files read, templates rendered)."""
    provided: frozenset[str] = frozenset()
    """As in Around."""
    spooled: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of a body -> where on the host it lies already, being too large for a script."""


@dataclass(frozen=True)
class Material:
    """What a body may be composed from. All of it is the caller's."""

    load: Callable[[str], bytes]
    """A file of the controller, by its path relative to the spec's folder."""
    variables: Mapping[str, Any]
    """For templates; those of a resource come before these."""
    secrets: Mapping[str, bytes]


@dataclass(frozen=True)
class Stake:
    """What a change that can cut us off puts at stake; the host puts it back by itself.

    Taken before the change, given back if no fresh connection confirms it (see converge.armed).
    """

    paths: tuple[str, ...] = ()
    """Files, links or directories: saved whole, or that nothing is there."""
    units: tuple[str, ...] = ()
    """systemd units: what ran is reloaded or restarted, what did not is stopped."""
    save: str = ""
    """sh, run in a folder of its own: what else to keep."""
    restore: str = ""
    """sh, run in that folder once the paths are back; not at boot, when nothing is loaded yet."""


R = TypeVar("R", bound="Resource")


@dataclass(frozen=True)
class Item(Generic[R]):
    """One resource in the step that settles it. `index` is how the host calls it."""

    index: int
    resource: R
    state: State


class Resource(BaseModel):
    """Base of all resource types. The field named like the type carries the name."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    key: ClassVar[str]
    coalesces: ClassVar[bool] = False
    """May neighbours of this type be settled in one step?"""
    brings: ClassVar[bool] = False
    """May a change of this type bring users, files or services along?"""
    cuts_off: ClassVar[bool] = False
    """Can a change of this type cut us off from the host? Then it is armed: see `stake`."""
    library: ClassVar[str | tuple[str, ...]] = ""
    """Shell functions that `emit` calls. Texts that types share go out once."""

    needs: tuple[Ref, ...] = ()
    """Other resources that must be settled first; if they fail, this is skipped."""

    # Each type spells this out for type checkers; a test holds the two together.
    if not TYPE_CHECKING:

        def __init__(self, name: Any = None, /, **data: Any) -> None:
            if name is not None:
                data[self.key] = name
            super().__init__(**data)

    @classmethod
    def libraries(cls) -> tuple[str, ...]:
        return (cls.library,) if isinstance(cls.library, str) else cls.library

    @property
    def name(self) -> str:
        return str(getattr(self, self.key))

    @property
    def id(self) -> str:
        return f"{self.key}:{self.name}"

    # What the order is derived from. Tokens are "user:", "group:", "path:" or a resource id.
    def provides(self) -> frozenset[str]:
        return frozenset({self.id})

    def requires(self) -> frozenset[str]:
        return frozenset()

    def follows(self) -> frozenset[str]:
        """Tokens to come after where that makes no cycle, without being skipped with them."""
        return frozenset()

    def forbids(self) -> Mapping[str, str]:
        """Tokens that nobody may provide beside this resource, and why."""
        return {}

    def secrets(self) -> tuple[str, ...]:
        return ()

    def compose(self, material: Material) -> bytes | None:
        """What this takes from the controller: read, rendered, and then in `Context.bodies`.

        Runs before connecting. What it raises is told with the resource's name.
        """
        return None

    def listens(self) -> tuple[str, ...]:
        """Ids whose change this resource must act on, even in a later run."""
        return ()

    def trigger(self) -> str | None:
        """The name under which the host remembers such a change until it was acted on."""
        return None

    def stake(self) -> Stake | None:
        """What is put back unless a fresh connection confirms the change; None: not armed."""
        if not self.cuts_off:
            return None
        paths = (token.removeprefix("path:") for token in self.provides() if token[:5] == "path:")
        return Stake(paths=tuple(sorted(paths)))

    @classmethod
    def probe(cls, resources: Sequence[Any], context: Context) -> str:
        raise NotImplementedError

    @classmethod
    def parse(cls, output: bytes, resources: Sequence[Any], context: Context) -> Sequence[State]:
        raise NotImplementedError

    def diff(self, state: Any, around: Around) -> Change | None:
        raise NotImplementedError

    @classmethod
    def emit(cls, items: Sequence[Item[Any]], context: Context) -> str:
        raise NotImplementedError
