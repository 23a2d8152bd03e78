"""Types by their key, each imported when it is asked for: a run pays for the types it uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from converge.resource import Resource


class Types(Mapping[str, type[Resource]]):
    """From a table of key -> "module.Class". Keys load nothing, values and items load all."""

    def __init__(self, package: str, table: Mapping[str, str]) -> None:
        self._package = package
        self._table = table
        self._keys = {place.rpartition(".")[2]: key for key, place in table.items()}
        self._loaded: dict[str, type[Resource]] = {}

    def __getitem__(self, key: str) -> type[Resource]:
        kind = self._loaded.get(key)
        if kind is None:
            module, _, name = self._table[key].rpartition(".")
            # Not importlib.import_module: who decides what an import statement loads (Temporal's
            # workflow sandbox does) replaces this function, and would get a second class from that.
            kind = getattr(__import__(f"{self._package}.{module}", fromlist=(name,)), name)
            self._loaded[key] = kind
        return kind

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, key: object) -> bool:
        return key in self._table

    @property
    def names(self) -> Iterable[str]:
        """What the classes are called."""
        return self._keys.keys()

    def named(self, name: str) -> type[Resource]:
        """The class of that name. Raises KeyError."""
        return self[self._keys[name]]

    def of(self, resources: Iterable[Resource]) -> list[type[Resource]]:
        """The types of these resources, in the order of the table."""
        order = {key: index for index, key in enumerate(self._table)}
        return sorted(
            dict.fromkeys(map(type, resources)), key=lambda kind: order.get(kind.key, len(order))
        )
