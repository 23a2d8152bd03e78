"""What names and values turn out to be, and what is known of types from outside of the project."""

from __future__ import annotations

from dataclasses import dataclass

from temporal.check.source import Binding, Class, Function, Module, Scope


@dataclass(frozen=True)
class External:
    """Something outside of the project, by its full name: `time.time`, `builtins.open`."""

    dotted: str


@dataclass(frozen=True)
class Variable:
    """A name bound to a value: in a module, class or function."""

    name: str
    scope: Scope
    bindings: tuple[Binding, ...]

    @property
    def dotted(self) -> str:
        return f"{self.scope.module.name}.{self.name}"


@dataclass(frozen=True)
class Stored:
    """An assignment to `self.<attribute>`, in the scope of a method."""

    scope: Scope
    binding: Binding


Symbol = Module | Class | Function | Variable | External


@dataclass(frozen=True)
class Type:
    """The type of a value; `optional` where it may be None as well."""

    symbol: Class | External
    optional: bool = False

    @property
    def dotted(self) -> str:
        return self.symbol.dotted


def external(name: str) -> Type:
    """The type called `name`, from outside of the project."""
    return Type(External(name))


BUILTIN_TYPES = {
    "str", "int", "float", "bool", "bytes", "list", "dict", "set", "frozenset", "tuple",
}  # fmt: skip
# What a call gives, where its name does not say it.
RETURNS = {
    "logging.getLogger": "logging.Logger",
    "builtins.sorted": "builtins.list",
    "builtins.repr": "builtins.str",
    "builtins.len": "builtins.int",
    "asyncio.get_event_loop": "asyncio.AbstractEventLoop",
    "asyncio.get_running_loop": "asyncio.AbstractEventLoop",
    "asyncio.new_event_loop": "asyncio.AbstractEventLoop",
    "asyncio.run_coroutine_threadsafe": "concurrent.futures.Future",
    "concurrent.futures.ThreadPoolExecutor.submit": "concurrent.futures.Future",
    "concurrent.futures.ProcessPoolExecutor.submit": "concurrent.futures.Future",
    "socket.create_connection": "socket.socket",
    "requests.session": "requests.Session",
    "pathlib.Path.cwd": "pathlib.Path",
    "pathlib.Path.home": "pathlib.Path",
    **{
        f"pathlib.Path.{name}": "pathlib.Path"
        for name in ("joinpath", "with_suffix", "with_name", "absolute", "resolve", "expanduser")
    },
    **{
        f"builtins.set.{name}": "builtins.set"
        for name in ("union", "intersection", "difference", "symmetric_difference", "copy")
    },
    **{f"collections.{name}": f"collections.{name}" for name in ("defaultdict", "deque")},
}
ALIASES = {
    "typing.List": "builtins.list",
    "typing.Dict": "builtins.dict",
    "typing.Set": "builtins.set",
    "typing.FrozenSet": "builtins.frozenset",
    "typing.Tuple": "builtins.tuple",
    "collections.abc.Set": "builtins.set",
    "collections.abc.MutableSet": "builtins.set",
    "typing.AbstractSet": "builtins.set",
    "typing.MutableSet": "builtins.set",
}
WRAPPERS = {"typing.Annotated", "typing.Final", "typing.ClassVar", "typing_extensions.Annotated"}
NOT_A_TYPE = {"typing", "typing_extensions", "collections.abc"}
