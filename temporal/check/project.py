"""The files that a check looks at: parsed when first asked for, each once."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from temporal.check.source import Module

_INSTALLED = {"site-packages", "dist-packages"}


class Project:
    """Registered packages, and whatever else of the user's own they import.

    What is installed (under site-packages) or comes with Python is outside, unless it is one of the
    registered packages: its inside is nobody's here to mend.
    """

    def __init__(self, packages: Iterable[str]) -> None:
        self.packages = tuple(dict.fromkeys(packages))
        self._modules: dict[str, Module | None] = {}
        self._roots: dict[str, list[Path] | None] = {}

    def module(self, name: str) -> Module | None:
        """The module called `name`, or None if it is outside or does not parse."""
        if name not in self._modules:
            found = self._find(name)
            self._modules[name] = _parse(name, found) if found else None
        return self._modules[name]

    def loaded(self) -> list[Module]:
        """Every module that was parsed so far."""
        return [module for module in self._modules.values() if module]

    def registered(self) -> Iterator[Module]:
        """Every module of the registered packages."""
        for package in self.packages:
            top = self.module(package)
            if top is None:
                continue
            yield top
            if not top.is_package:
                continue
            for file in sorted(top.file.parent.rglob("*.py")):
                parts = file.relative_to(top.file.parent).with_suffix("").parts
                name = ".".join([package, *parts]).removesuffix(".__init__")
                if name != package and all(part.isidentifier() for part in parts):
                    module = self.module(name)
                    if module:
                        yield module

    def _find(self, name: str) -> Path | None:
        top, *rest = name.split(".")
        if top not in self._roots:
            self._roots[top] = self._root(top)
        for place in self._roots[top] or ():
            file = place.joinpath(*rest) if rest else place
            if not rest and file.suffix == ".py":
                return file
            for candidate in (file / "__init__.py", file.with_name(file.name + ".py")):
                if candidate.is_file():
                    return candidate
        return None

    def _root(self, top: str) -> list[Path] | None:
        """Folders of the top-level package `top`, or its single file; None if it is outside."""
        if top in sys.stdlib_module_names or top in sys.builtin_module_names:
            return None
        try:
            # For a name without a dot nothing is imported.
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            return None
        if spec is None:
            return None
        if spec.submodule_search_locations is not None:
            places = [Path(place) for place in spec.submodule_search_locations]
        elif spec.origin and spec.origin.endswith(".py"):
            places = [Path(spec.origin)]
        else:
            return None
        ours = top in {package.partition(".")[0] for package in self.packages}
        return [p.resolve() for p in places if ours or not _INSTALLED & set(p.parts)]


def _parse(name: str, file: Path) -> Module | None:
    try:
        text = file.read_text(encoding="utf-8")
        tree = ast.parse(text, filename=str(file))
    except (OSError, SyntaxError, ValueError):
        return None  # what is imported and broken is a problem that the registry reports
    return Module(name, file.resolve(), file.name == "__init__.py", text, tree)
