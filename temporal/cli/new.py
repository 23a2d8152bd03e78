"""`temporal-ops new`: a workflow, its activity and a test, written and registered."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from temporal.cli.common import AsJson, emit


def new(
    path: Annotated[str, typer.Argument(help="domain and name, as in my_domain/my_workflow")],
    package: Annotated[
        str | None, typer.Option(help="package to write into; default: this project's")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a workflow, its activity and a test that passes, and register them."""
    from temporal import scaffold

    written = scaffold.new(path, package=package, root=Path.cwd())
    if as_json:
        emit({"files": [str(file) for file in written.files], "next": written.advice})
        return
    for file in written.files:
        print(file)
    print(written.advice)
