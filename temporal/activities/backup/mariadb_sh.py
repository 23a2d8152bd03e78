"""PLACEHOLDER until the real one is here: replace this file."""

from typing import Any


def dump_script(source: Any, password: str | None = None) -> str:
    raise NotImplementedError


def prove_script(source: Any, password: str | None = None) -> str:
    raise NotImplementedError


def load_script(source: Any, into: str, swap: bool, password: str | None = None) -> str:
    raise NotImplementedError
