"""`make demo`: what a person would type, typed and shown.

Starts the embedded Temporal server with a worker, a real lab server, and provisions it; a second run
finds nothing to do. Where no lab can run it says what is missing and does what needs none.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lab import missing

OPS = [sys.executable, "-m", "temporal"]
WEB = "examples/servers/web.yml"
BOLD, DIM, OFF = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")


def say(text: str) -> None:
    """A line of the demo itself."""
    print(f"\n{BOLD}{text}{OFF}", flush=True)


def ops(*arguments: str) -> None:
    """Show a command, run it, and end the demo if it fails."""
    shown = " ".join(f"'{a}'" if " " in a or '"' in a else a for a in arguments)
    print(f"{DIM}$ temporal-ops {shown}{OFF}", flush=True)
    # Ctrl-C is for the command, which asks what to do; the demo ends with what it answers.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        status = subprocess.run(
            [*OPS, *arguments],
            check=False,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ).returncode
    finally:
        signal.signal(signal.SIGINT, before)
    if status:
        sys.exit(f"the demo stops here: temporal-ops {shown} ended with status {status}")


class Up:
    """`temporal-ops up` beside the demo, unless this project's runs already."""

    def __init__(self) -> None:
        from temporal import config, server

        self.process: subprocess.Popen[str] | None = None
        settings = config.load()
        running = server.running(settings)
        if running:
            self.ui = running.ui
            return
        if settings.address_configured:
            self.ui = ""
            return
        log = Path(tempfile.mkstemp(prefix="temporal-ops-demo-", suffix=".log")[1])
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                [*OPS, "up", "--json"],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # a Ctrl-C is not for it: the demo stops it at its end
            )
        assert self.process.stdout
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line.rstrip() == "}":
                break
        if not lines:
            sys.exit(f"temporal-ops up failed:\n{log.read_text()}")
        self.ui = json.loads("".join(lines))["ui"]
        log.unlink()

    def stop(self) -> None:
        """Drain and stop what this demo started."""
        if self.process:
            self.process.send_signal(signal.SIGINT)
            self.process.wait()


def main() -> None:
    """The demo."""
    began = time.monotonic()
    say("A Temporal server with its web UI, and a worker")
    print(f"{DIM}$ temporal-ops up{OFF}", flush=True)
    up = Up()
    print(f"web UI {up.ui}" if up.ui else "using the configured Temporal server")
    try:
        say("The smallest workflow")
        ops("run", "TestWorkflow", "--input", '"World"')
        lacks = missing()
        if lacks:
            without_lab(lacks)
        else:
            with_lab()
        say("What ran, and who started it")
        ops("runs", "list", "--limit", "5")
        say(f"Done in {time.monotonic() - began:.0f} s.")
        if up.ui and up.process and sys.stdin.isatty():
            input(f"Look around in the web UI: {up.ui}   Enter stops it. ")
        elif up.ui and up.process:
            print("Server and web UI stop now; `temporal-ops up` brings them and these runs back.")
        if not lacks:
            print("The lab server stays for you to look at; `temporal-ops lab down` removes it.")
    finally:
        up.stop()


def with_lab() -> None:
    """One real server, provisioned twice."""
    say("A real server (the first time its Debian image is built, about half a minute)")
    ops("lab", "up", "1")
    say(f"Provision it: a package, a user, files, a service ({WEB})")
    ops("run", "ProvisionServer", "--file", WEB)
    say("Once more: nothing to do")
    ops("run", "ProvisionServer", "--file", WEB)


def without_lab(lacks: list[str]) -> None:
    """A scratch folder on this machine instead of a server."""
    say("No lab server can run here:")
    for line in lacks:
        print(f"  - {line}")
    with tempfile.TemporaryDirectory(prefix="temporal-ops-demo-") as folder:
        spec = Path(folder) / "scratch.yml"
        spec.write_text(
            "host: local\n"
            "resources:\n"
            f"  - file: {folder}/etc/motd\n"
            '    mode: "0644"\n'
            "    content: |\n"
            "      It is as it was declared.\n"
        )
        say("So a scratch folder on this machine is brought to its declared state")
        print(spec.read_text())
        ops("run", "ProvisionServer", "--file", str(spec))
        say("Once more: nothing to do")
        ops("run", "ProvisionServer", "--file", str(spec))
        print(f"{DIM}$ cat {folder}/etc/motd{OFF}\n{Path(folder, 'etc/motd').read_text()}", end="")


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent.parent)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nthe demo stops here")
