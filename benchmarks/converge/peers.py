"""The peers: installed into a venv of their own, and tuned as their manuals and users say."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from lab.store import locked

REQUIREMENTS = Path(__file__).with_name("peers.txt")


def install(state: Path) -> Path:
    """The venv's bin folder; made once for each set of requirements, below `state`."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    venv = state / "bench" / f"peers-{digest}"
    with locked(state / "bench" / "peers.lock"):
        if not (venv / "ready").exists():
            shutil.rmtree(venv, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
            pip = [str(venv / "bin/pip"), "-qq", "--disable-pip-version-check", "install"]
            words = [*pip, "--require-hashes", "--requirement", str(REQUIREMENTS)]
            subprocess.run(words, check=True)
            (venv / "ready").touch()
    return venv / "bin"


def versions(bin: Path) -> str:
    """Their versions, for the table."""
    script = "import importlib.metadata as m; print(*(n + ' ' + m.version(n) for n in "
    script += "('ansible-core', 'pyinfra')), sep=', ')"
    words = [str(bin / "python"), "-c", script]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def ansible_settings(folder: Path, hosts: int) -> str:
    """ansible.cfg: pipelining, a fork a host, no facts, connections kept between commands."""
    ssh = (
        f"-F none -o ControlMaster=auto -o ControlPersist=60s -o IdentityAgent=none"
        f" -o UserKnownHostsFile={folder}/known_hosts -o GlobalKnownHostsFile=none"
        f" -o StrictHostKeyChecking=yes -o PreferredAuthentications=publickey"
    )
    return (
        f"[defaults]\nforks = {max(hosts, 5)}\ngathering = explicit\ninventory = inventory.json\n"
        f"interpreter_python = /usr/bin/python3\nlocal_tmp = {folder}/local\n"
        f"retry_files_enabled = False\n"
        f"[ssh_connection]\npipelining = True\nssh_args = {ssh}\n"
        f"control_path_dir = {folder}/cp\n"
    )


def end_masters(folder: Path) -> None:
    """End the connections that Ansible's ssh keeps in the background."""
    for socket in folder.glob("cp*/*"):
        words = ["ssh", "-F", "none", "-o", f"ControlPath={socket}", "-O", "exit", "none"]
        subprocess.run(words, check=False, capture_output=True, timeout=10)
