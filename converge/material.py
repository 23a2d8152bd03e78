"""What resources take from the controller: files beside the spec, and templates rendered there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from converge.errors import MaterialMissing
from converge.graph import Spec, digest
from converge.journal import redactor
from converge.resource import Material

Loader = Callable[[str], bytes]
"""Turns a path relative to the spec's folder into the bytes of that file."""


def folder(root: str | Path) -> Loader:
    """Reads below `root`, the folder of the spec, and nowhere else: links out of it are refused."""
    top = Path(root).resolve()

    def load(name: str) -> bytes:
        found = (top / name).resolve()
        if not found.is_relative_to(top):
            raise ValueError(f"it lies outside of the spec's folder {top}")
        return found.read_bytes()

    return load


def compose(
    spec: Spec,
    load: Loader | None,
    variables: Mapping[str, Any] | None,
    secrets: Mapping[str, bytes],
) -> tuple[Spec, dict[str, bytes]]:
    """(the spec, its digest now that of these contents too; body of each resource by its id)

    Raises MaterialMissing, naming the resource and what could not be had.
    """
    material = Material(load or _nothing, variables or {}, secrets)
    bodies: dict[str, bytes] = {}
    for resource in spec.resources:
        try:
            body = resource.compose(material)
        except Exception as error:
            # What a template does with a secret may end up in its complaint.
            raise MaterialMissing(f"{resource.id}: {redactor(secrets)(_said(error))}") from None
        if body is not None:
            bodies[resource.id] = body
    # A body that holds a secret stands for itself in no digest: that is kept on hosts.
    told = {
        resource.id: hashlib.sha256(bodies[resource.id]).hexdigest()
        for resource in spec.resources
        if resource.id in bodies and not resource.secrets()
    }
    if told:
        spec = replace(spec, digest=digest([spec.digest, told]))
    return spec, bodies


def _nothing(name: str) -> bytes:
    raise ValueError("it needs the argument load= to be read")


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__
