"""Which labs have something in the kernel, noted in /run, which a reboot empties alike.

So a lab whose state folder somebody deleted can still be found and cleaned.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lab.store import read_json, write_json

_FOLDER = Path("/run/temporal-lab")


@dataclass(frozen=True)
class Entry:
    token: str
    root: Path
    name: str


def register(token: str, root: Path, name: str) -> None:
    _FOLDER.mkdir(parents=True, exist_ok=True)
    write_json(_FOLDER / f"{token}.json", {"root": str(root), "name": name})


def unregister(token: str) -> None:
    (_FOLDER / f"{token}.json").unlink(missing_ok=True)


def entries() -> list[Entry]:
    found = []
    for path in sorted(_FOLDER.glob("*.json")) if _FOLDER.is_dir() else []:
        value = read_json(path)
        if value is not None:
            found.append(Entry(path.stem, Path(str(value["root"])), str(value["name"])))
    return found
