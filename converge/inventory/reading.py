"""Inventory files and folders: which kind each is, and the variables that lie beside them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from converge.documents import Document, DocumentError, parse_document
from converge.inventory.errors import InventoryError
from converge.inventory.ini import read_ini
from converge.inventory.model import Inventory, Tree, resolve
from converge.inventory.trees import (
    VAULT,
    is_ours,
    read_ansible,
    read_json,
    read_ours,
    refuse_vault,
)

PATIENCE = 60.0
"""Seconds for one call of an executable inventory."""
_MOST = 64 * 1024 * 1024
_IGNORED = ("~", ".orig", ".bak", ".ini", ".cfg", ".retry", ".pyc", ".pyo", ".swp", ".md")
_VARIABLES = ("group_vars", "host_vars")


def read_inventory(path: Path) -> Inventory:
    """A file, an executable, or a folder of them. Raises InventoryError, naming file and line."""
    tree = Tree()
    if path.is_dir():
        folder = path
        files = [each for each in sorted(path.iterdir()) if _counts(each)]
        if not files:
            raise InventoryError(f"{path}: no inventory lies in this folder")
    else:
        folder, files = path.parent, [path]
    for file in files:
        _source(file, tree)
    _beside(folder, tree)
    return resolve(tree, str(path))


def _counts(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and not path.name.endswith(_IGNORED)


def _source(path: Path, tree: Tree) -> None:
    if path.is_file() and os.access(path, os.X_OK):
        _executable(path, tree)
        return
    text = _text(path)
    if path.suffix in (".yml", ".yaml"):
        _yaml(_document(text, path), tree)
    elif path.suffix == ".json" or text.lstrip().startswith("{"):
        _json(text, path, tree)
    else:
        read_ini(text, str(path), tree)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST:
            raise InventoryError(f"{path}: over {_MOST} bytes; that is no inventory")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InventoryError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise InventoryError(f"{path}: {error.strerror}") from None
    if text.startswith("$ANSIBLE_VAULT;"):
        raise InventoryError(f"{path}:1: {VAULT}")
    return text


def _document(text: str, path: Path) -> Document:
    try:
        document = parse_document(text, str(path))
    except DocumentError as error:
        raise InventoryError(str(error)) from None
    return document


def _yaml(document: Document, tree: Tree) -> None:
    if document.value is None:
        return
    if is_ours(document.value):
        read_ours(document, tree)
    else:
        read_ansible(document, tree)


def _json(text: str, path: Path, tree: Tree) -> None:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InventoryError(f"{path}:{error.lineno}: is not JSON: {error.msg}") from None
    if is_ours(value):
        read_ours(_document(text, path), tree)
    else:
        read_json(value, str(path), tree)


def _executable(path: Path, tree: Tree) -> None:
    """A dynamic inventory: asked with --list, and with --host for what that leaves open."""
    open_hosts = read_json(_asked(path, "--list"), str(path), tree)
    for host in open_hosts:
        given = _asked(path, "--host", host)
        if not isinstance(given, dict):
            raise InventoryError(f"{path} --host {host}: gave no JSON object")
        refuse_vault(given, str(path))
        tree.host(host).variables |= given


def _asked(path: Path, *arguments: str) -> Any:
    name = f"{path} {' '.join(arguments)}"
    try:
        done = subprocess.run(
            [path.resolve(), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            cwd=path.resolve().parent,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InventoryError(f"{name}: did not end within {PATIENCE:g} s") from None
    except OSError as error:
        hint = "; it is marked executable: if it is no program, `chmod -x` it"
        raise InventoryError(f"{name}: {error.strerror}{hint}") from None
    said = done.stderr.decode(errors="replace").strip()[-1000:]
    if done.returncode != 0:
        raise InventoryError(f"{name}: exit status {done.returncode}: {said or 'it said nothing'}")
    try:
        return json.loads(done.stdout)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InventoryError(
            f"{name}: gave no JSON: {error}{f' ({said})' if said else ''}"
        ) from None


def _beside(folder: Path, tree: Tree) -> None:
    """group_vars/NAME and host_vars/NAME: a file, or a folder of files, read in their order."""
    for kind in _VARIABLES:
        place = folder / kind
        if not place.is_dir():
            continue
        for path in sorted(place.iterdir()):
            if path.name.startswith(".") or path.name.endswith(_IGNORED):
                continue
            name = path.stem if path.is_file() and path.suffix in _SUFFIXES else path.name
            group = kind == "group_vars"
            known = name in tree.groups or name == "all" if group else name in tree.hosts
            if not known:
                continue  # of another inventory that shares the folder
            entry = tree.group(name) if group else tree.host(name)
            for file in _files(path):
                entry.beside |= _variables(file)


_SUFFIXES = (".yml", ".yaml", ".json")


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for inner in sorted(path.rglob("*")):
        if inner.is_file() and inner.suffix in ("", *_SUFFIXES) and _counts(inner):
            yield inner


def _variables(path: Path) -> dict[str, Any]:
    document = _document(_text(path), path)
    if document.value is None:
        return {}
    if not isinstance(document.value, dict):
        raise InventoryError(f"{path}:1: variables are a mapping of names to values")
    return {str(key): value for key, value in document.value.items()}
