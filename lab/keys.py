"""ssh keys of a lab: one to log in with, one for each server to be known by."""

from __future__ import annotations

from pathlib import Path

from lab.commands import run


def make_key(path: Path, comment: str) -> None:
    """Make an ed25519 key pair at `path` and `path`.pub, unless both are there already."""
    public = path.with_name(f"{path.name}.pub")
    if path.exists() and public.exists():
        return
    path.unlink(missing_ok=True)
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])


def public_key(path: Path) -> str:
    """The public half of the pair at `path`, as `ssh-ed25519 AAAA...` without its comment."""
    text = path.with_name(f"{path.name}.pub").read_text()
    return " ".join(text.split()[:2])


def known_hosts_line(address: str, name: str, host_key: str) -> str:
    """A known_hosts line (sshd(8)) that knows the server by its address and by its name."""
    return f"{address},{name} {host_key}"


def ssh_options(key: Path, known_hosts: Path) -> list[str]:
    """Options that make ssh use this key and these host keys only, whatever the user's own say."""
    return [
        *("-F", "none", "-i", str(key)),
        *("-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes"),
        *("-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={known_hosts}"),
        *("-o", "GlobalKnownHostsFile=none", "-o", "LogLevel=ERROR"),
    ]
