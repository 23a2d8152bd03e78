"""Backups as the tests of this folder declare them, and what came of them."""

from __future__ import annotations

from typing import Any

from lab import Lab, Machine
from temporal.runs.outcomes import results
from temporal.shared.specs.backup.backup import BackupSpec, HostBackup, SourceBackup
from temporal.testing import Environment
from tests.temporal.backup.stores import Store

PASSWORD = "correct horse/battery+staple"
PASSWORD_REF = "env://TRIAL_BACKUP_PASSWORD"
VARIABLES = {"TRIAL_BACKUP_PASSWORD": PASSWORD}


def place(server: Machine) -> dict[str, str]:
    return {"lab": server.name, "lab_name": server.lab}


def says(server: Machine, command: str, *, fails: bool = False) -> str:
    """What a shell command prints there; it must end with 0."""
    done = Lab(server.lab).exec(server, ["sh", "-c", command], timeout=600)
    assert fails or done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def local(url: str, **more: Any) -> dict[str, Any]:
    """A repository in a folder of the host."""
    return {"url": url, "password": PASSWORD_REF, "create": True, **more}


def stored(store: Store, name: str, monkeypatch: Any, **more: Any) -> dict[str, Any]:
    """A repository on a store, its secrets by reference."""
    value: dict[str, Any] = {"url": f"{store.url}/{name}", "password": PASSWORD_REF, "create": True}
    credentials = {}
    for variable, secret in store.variables.items():
        if variable.startswith("AWS_"):
            monkeypatch.setenv(f"TRIAL_{variable}", secret)
            credentials[variable] = f"env://TRIAL_{variable}"
    if credentials:
        value["credentials"] = credentials
    if store.url.startswith("rest:") and store.user:
        monkeypatch.setenv("TRIAL_REST_PASSWORD", store.password)
        value |= {"user": store.user, "user_password": "env://TRIAL_REST_PASSWORD"}
    if store.key is not None:
        value |= {"key": f"file://{store.key}", "known_hosts": store.known_hosts_line}
    return {**value, **more}


def spec(
    servers: list[Any], repository: dict[str, Any], sources: dict[str, Any], **more: Any
) -> BackupSpec:
    hosts = [{"host": place(each) if isinstance(each, Machine) else each} for each in servers]
    value = {"name": "trial", "repository": repository, "sources": sources, **more}
    return BackupSpec.model_validate(BackupSpec.of(value, hosts))


async def saved(env: Environment, run: str) -> dict[tuple[str, str], SourceBackup]:
    """What came of each source of each host."""
    found: dict[tuple[str, str], SourceBackup] = {}
    async for each in results(env.ops, run, "back_up_host"):
        assert isinstance(each, HostBackup)
        for source in each.sources:
            found[each.host, source.source] = source
    return found


def restic(server: Machine, url: str, words: str) -> str:
    """What restic says there."""
    variables = (
        f"RESTIC_PASSWORD='{PASSWORD}' RESTIC_REPOSITORY='{url}' RESTIC_CACHE_DIR=/var/cache/trial"
    )
    return says(server, f"{variables} restic {words}")
