"""`make demo`: what a person would type, typed and shown.

Starts the embedded Temporal server with a worker and four real lab servers. A fleet of three is
provisioned with approval and a canary, behind a balancer; a shop on one of them is backed up, lost and
restored; drift made by hand is found and repaired; all are patched and rebooted one at a time while a
client is answered throughout. Where no lab can run it says what is missing and does what needs none.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from examples import disaster
from lab import Lab, missing

OPS = [sys.executable, "-m", "temporal"]
FLEET = "examples/fleet"
UPGRADE = "offer-upgrade.sh"
BOLD, DIM, OFF = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")


def say(text: str) -> None:
    """A line of the demo itself."""
    print(f"\n{BOLD}{text}{OFF}", flush=True)


def _typed(word: str) -> str:
    """An argument as a person would type it; a whole script as the file it is from."""
    if "\n" in word:
        return f'"$(cat {FLEET}/{UPGRADE})"'
    return f"'{word}'" if set(word) & set(' ";>') else word


def ops(*arguments: str) -> None:
    """Show a command, run it, and end the demo if it fails."""
    shown = " ".join(map(_typed, arguments))
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
    disaster.invent_secrets()
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
            with_lab(up)
        say("What ran, and who started it")
        ops("runs", "list", "--limit", "8")
        say(f"Done in {time.monotonic() - began:.0f} s.")
        if up.ui and up.process and sys.stdin.isatty():
            input(f"Look around in the web UI: {up.ui}   Enter stops it. ")
        elif up.ui and up.process:
            print("Server and web UI stop now; `temporal-ops up` brings them and these runs back.")
        if not lacks:
            print("The lab servers stay for you to look at; `temporal-ops lab down` removes them.")
    finally:
        up.stop()


def with_lab(up: Up) -> None:
    """Four real servers: a fleet of three behind a balancer, on one of them a shop."""
    say("Real servers (the first time their Debian image is built, about half a minute)")
    ops("lab", "up", "4")
    say(f"Three web servers ({FLEET}/web.yml): each is planned, somebody approves, one goes first")
    name = f"web-{os.getpid()}"
    ops("run", "ProvisionFleet", "--no-wait", "--id", name, "--file", f"{FLEET}/web.yml")
    digest = plan_that_waits(name)
    if digest:
        ops("runs", "plan", name)
        ops("runs", "approve", name, "--plan", digest[:12], "--why", "it is what we want")
    ops("runs", "watch", name)
    say("A balancer before them")
    ops("run", "ProvisionServer", "--file", f"{FLEET}/balancer.yml")
    with_backup(up)
    say("Somebody changes server2 by hand; it is found, and brought back within limits")
    ops("lab", "ssh", "server2", "echo defaced >/var/www/html/index.html; systemctl stop nginx")
    ops("run", "DetectDrift", "--file", f"{FLEET}/drift.yml")
    say("A command on all of them: now there is something to upgrade")
    ops("exec", "-i", f"{FLEET}/hosts.yml", "-l", "web", "--", Path(FLEET, UPGRADE).read_text())
    say("Upgraded and rebooted one at a time, while a client asks the balancer all the time")
    with Client(server="server4") as client:
        ops("run", "PatchFleet", "--file", f"{FLEET}/patch.yml")
    print(client.summary)
    if client.failed:
        sys.exit("the demo stops here: the client was left without an answer")


def with_backup(up: Up) -> None:
    """A backup, a disaster, and the restore."""
    why = disaster.lacks()
    if not up.process:
        why = "the worker that runs already does not know the secrets that were made up here"
    if why:
        say(f"The backup is not shown: {why}")
    else:
        disaster.show(ops, say)


def plan_that_waits(name: str) -> str:
    """The digest of what run `name` waits for; nothing if it ended without: all is as declared."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = asked("runs", "plan", name, "--json")
        if found is not None:
            return str(found["waiting"]["plan"])
        run = asked("runs", "show", name, "--json")
        if run is not None and run["run"]["closed"]:
            return ""
        time.sleep(0.2)
    sys.exit(f"the demo stops here: {name} neither waits nor ends")


def asked(*arguments: str) -> Any:
    """What a command says as JSON; nothing if it refuses."""
    done = subprocess.run([*OPS, *arguments], capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


class Client:
    """Asks a lab server for its page again and again, on a thread, and counts who answered."""

    def __init__(self, *, server: str) -> None:
        (machine,) = [one for one in Lab("default").machines() if one.name == server]
        self._url = f"http://{machine.address}/"
        self._answers: Counter[str] = Counter()
        self._failures: list[str] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def _ask(self) -> None:
        while not self._over.wait(0.05):
            try:
                with urllib.request.urlopen(self._url, timeout=10) as answer:
                    self._answers[answer.headers["Served-By"]] += 1
            except OSError as error:
                self._failures.append(str(error))

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def failed(self) -> bool:
        """Whether it was ever left without an answer, or never asked."""
        return bool(self._failures) or not self._answers

    @property
    def summary(self) -> str:
        """In one line."""
        who = ", ".join(f"{name} {count}" for name, count in sorted(self._answers.items()))
        asked = self._answers.total() + len(self._failures)
        because = f" ({self._failures[0]})" if self._failures else ""
        return f"the client asked {asked} times: {who}; without an answer {len(self._failures)}{because}"


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
