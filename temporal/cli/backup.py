"""`temporal-ops backup`: back up, see what is protected, restore, try restores, maintain."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from temporal.cli.common import FAILED, AsJson, Exit, execute, settings, wrong

if TYPE_CHECKING:
    from temporal.cli.run import Told
    from temporal.shared.specs.backup.backup import BackupSpec
    from temporal.shared.specs.backup.restoring import RestoreSpec

app = typer.Typer(
    help="Backups: make them, see what is protected, restore, try restores, maintain.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
File = Annotated[
    str, typer.Argument(help="the backup: YAML, with name, hosts, repository, sources")
]
Limit = Annotated[
    str | None, typer.Option("--limit", "-l", help="hosts of its inventory: web,!web3 or web*.org")
]
Id = Annotated[
    str | None, typer.Option("--id", help="workflow id; if it runs already, that is followed")
]
Words = list[str] | None


@app.command(short_help="Back up now.")
def run(file: File, limit: Limit = None, id: Id = None, as_json: AsJson = False) -> None:
    """Back up every source of every host now, and show what was saved.

    Ends with 1 if anything could not be saved, or not all of it.
    """
    from temporal.cli.backup_views import told_backup

    _follow("BackUp", _spec(file, limit), id, as_json, told_backup)


@app.command(short_help="What is protected and what is not, the worst first.")
def status(file: File, limit: Limit = None, as_json: AsJson = False) -> None:
    """Look into the repositories, and show of each source whether it is protected: backed up recently
    enough, and a restore of it proved recently enough. Nobody is notified.

    Ends with 1 if anything is not.
    """
    from temporal.cli.backup_views import told_status

    whole = _spec(file, None)
    named = None if limit is None else frozenset(_names(_spec(file, limit)))
    quiet = whole.model_copy(update={"notify": None})
    _follow("InspectBackups", quiet, None, as_json, told_status(named))


@app.command(short_help="Which snapshots there are.")
def snapshots(
    file: File,
    host: Annotated[Words, typer.Option("--host", help="of this host only")] = None,
    source: Annotated[Words, typer.Option("--source", help="of this source only")] = None,
    as_json: AsJson = False,
) -> None:
    """List the snapshots in the repositories, the newest first, with what was proved of each."""
    from temporal.cli.backup_views import told_snapshots

    spec = _spec(file, None)
    for each in source or ():
        if each not in spec.sources:
            wrong(f"--source {each}: it has {', '.join(spec.sources)}")
    chosen = told_snapshots(frozenset(host or ()), frozenset(source or ()))
    _follow("ListSnapshots", spec, None, as_json, chosen)


@app.command(short_help="Restore a source of one host.")
def restore(
    file: File,
    host: Annotated[str | None, typer.Option(help="whose backup, by its name in the file")] = None,
    source: Annotated[str | None, typer.Option(help="which of its sources")] = None,
    at: Annotated[
        str, typer.Option(help="latest, a time as '2026-11-24 18:00' (UTC), or a snapshot's id")
    ] = "latest",
    path: Annotated[Words, typer.Option(help="of files, only this and what is below it")] = None,
    to: Annotated[
        str | None,
        typer.Option(help="folder or name of a database to restore into; it must be new"),
    ] = None,
    onto: Annotated[
        str | None, typer.Option(help="restore it on this host: a name from the file, user@address")
    ] = None,
    over_live: Annotated[
        bool, typer.Option("--over-live", help="in the place of what is live, which is kept aside")
    ] = False,
    sure: Annotated[
        str | None, typer.Option(help="HOST/SOURCE: said again, for --over-live without a terminal")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be done")] = False,
    id: Id = None,
    as_json: AsJson = False,
) -> None:
    """Restore a source of one host, into a new place unless told otherwise, and prove what is there.

    Over what is live it is restored only when told twice: on a terminal that is asked for.
    """
    value: dict[str, Any] = {
        "backup": file,
        "host": host,
        "source": source,
        "at": at,
        "paths": path or None,
        "to": to,
        "onto": onto,
        "dry_run": dry_run,
    }
    value = {name: given for name, given in value.items() if given is not None}
    spec = _restore_spec(value)
    if over_live:
        spec = _restore_spec({**value, "over_live": True, "sure": sure or _asked(spec)})
    elif sure is not None:
        wrong("--sure goes with --over-live")
    _follow("RestoreBackup", spec, id, as_json, None)


def _asked(spec: RestoreSpec) -> str:
    """What somebody has typed who was told what will be out of use."""
    if spec.dry_run:
        return spec.word
    if not sys.stdin.isatty():
        wrong(f"nobody can be asked here: say --sure {spec.word} if that is what you mean")
    sys.stderr.write(
        f"{spec.source} on {spec.onto.name} is live. It will be kept aside, and in its place will be a"
        f" copy of {spec.host}'s backup ({spec.at}).\nType {spec.word} to go on: "
    )
    sys.stderr.flush()
    typed = sys.stdin.readline().strip()
    if typed != spec.word:
        raise Exit(FAILED, "nothing was restored")
    return typed


@app.command(short_help="Try restores, and prove what came of them.")
def drill(
    file: File,
    limit: Limit = None,
    every: Annotated[
        bool, typer.Option("--all", help="all sources, not only those whose turn it is")
    ] = False,
    id: Id = None,
    as_json: AsJson = False,
) -> None:
    """Restore sources whose last try is longest ago into scratch, compare, and write down the proof.

    Ends with 1 if one of them was not restored, or is not what had been backed up.
    """
    from temporal.cli.backup_views import told_drill

    spec = _spec(file, limit, {"drill": {"sources": 0}} if every else {})
    _follow("DrillRestore", spec, id, as_json, told_drill)


@app.command(short_help="Forget old snapshots, prune, check.")
def maintain(
    file: File,
    steps: Annotated[
        str | None, typer.Option(help="which of forget,prune,check; default: as the file says")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="show which snapshots would go, and do nothing")
    ] = False,
    id: Id = None,
    as_json: AsJson = False,
) -> None:
    """Forget snapshots by the rules in `keep`, reclaim room, and check a part of the repository.

    Ends with 1 if something was refused, failed or is damaged.
    """
    from temporal.cli.backup_views import told_maintenance

    more: dict[str, Any] = {"dry_run": True} if dry_run else {}
    if steps is not None:
        more["steps"] = [each.strip() for each in steps.split(",")]
    spec = _spec(file, None, {"maintain": more} if more else {})
    _follow("MaintainRepository", spec, id, as_json, told_maintenance)


def _spec(
    file: str, limit: str | None, added: Mapping[str, Mapping[str, Any]] | None = None
) -> BackupSpec:
    """The backup as the file declares it. Raises SpecError."""
    from temporal.shared.specs import reading
    from temporal.shared.specs.backup.backup import BackupSpec

    given = {} if limit is None else {"limit": limit}
    return reading.read(Path(file), BackupSpec, given, added)


def _names(spec: BackupSpec) -> list[str]:
    return [member.host.name for member in spec.members(0, spec.total)]


def _restore_spec(value: dict[str, Any]) -> RestoreSpec:
    """Raises SpecError."""
    from pydantic import ValidationError

    from temporal.payloads import explain_validation
    from temporal.shared.errors import SpecError
    from temporal.shared.specs.backup.restoring import RestoreSpec
    from temporal.shared.specs.reading import Misfit

    try:
        return RestoreSpec.model_validate(RestoreSpec.read_as(value, Path()).value)
    except Misfit as error:
        raise SpecError(str(error)) from None
    except ValidationError as error:
        raise SpecError(f"the restore {explain_validation(error)}") from None


def _follow(
    workflow: str, spec: object, workflow_id: str | None, as_json: bool, told: Told | None
) -> None:
    """Runs it to its end; ends the command with its exit code."""
    from temporal import registry
    from temporal.cli.run import run_to_end

    chosen = settings()
    entry = registry.load(chosen).workflow(workflow)
    raise Exit(execute(run_to_end(chosen, entry, [spec], workflow_id, True, as_json, told=told)))
