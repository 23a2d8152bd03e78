"""For any set of resources on a real server: applied is applied, whatever was killed on the way.

Each example has a place of its own below /srv/prop, and users and groups of its own, so that one
server serves all of them. `--hypothesis-seed=N` and the printed seed make a failure again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import subprocess
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

import lab
from converge import File, Host, Package, Resource, Service, User, apply, close, plan
from converge.errors import ConvergeError
from converge.transport.pool import pool

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(bool(lab.missing()), reason="; ".join(lab.missing())),
]
PACKAGES = ("figlet", "toilet")
"""Small, and with nothing that depends on them."""
_count = itertools.count()


@pytest.fixture(scope="module")
def servers():
    place = lab.Lab(f"prop-{os.getpid()}", owner=os.getpid())
    try:
        yield place
    finally:
        place.down()


@pytest.fixture(scope="module")
def pair(servers):
    """Two servers: on one everything goes wrong, on the other nothing."""
    both = servers.up(2)[:2]
    for machine in both:  # the index of apt's archives, and these packages, in its cache
        on(machine, f"apt-get update -q; apt-get install -y -q -d {' '.join(PACKAGES)}")
    return both


def host_of(machine) -> Host:
    known = {"user": machine.user, "key": str(machine.key), "known_hosts": str(machine.known_hosts)}
    return Host(machine.address, **known)


def on(machine, command: str) -> str:
    done = subprocess.run(
        machine.ssh_command(command), capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# -- any set of resources ---------------------------------------------------------------------

NAMES = st.text(
    st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=20
).filter(lambda name: name not in {".", ".."})
CONTENT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=300)
MODES = st.sampled_from([None, "0600", "0644", "0755", "4755", "0000"])


@dataclass
class Wish:
    """What an example wants, with the place still open: it is applied to a fresh one each time."""

    files: dict[tuple[str, ...], tuple[str, str | None, int | None]]
    """Path below the place -> content, mode, number of the owner."""
    users: list[tuple[str, bool]]
    """Shell, system."""
    packages: dict[str, bool]
    """Name -> is it to be gone?"""
    units: list[str]
    """Environment of a service that is restarted when its file changes."""
    seed: int = 0

    def resources(self, tag: str) -> list[Resource]:
        place = f"/srv/prop/{tag}"
        made: list[Resource] = []
        for number, (shell, system) in enumerate(self.users):
            made.append(User(f"p{tag}u{number}", shell=shell, system=system))
        for path, (content, mode, owner) in self.files.items():
            who = None if owner is None or not self.users else owner % len(self.users)
            made.append(
                File(
                    "/".join([place, *path]),
                    content=content,
                    mode=mode,
                    owner=None if who is None else f"p{tag}u{who}",
                )
            )
        for name, gone in self.packages.items():
            made.append(Package(name, absent=gone))
        for number, value in enumerate(self.units):
            unit = File(
                f"/etc/systemd/system/p{tag}s{number}.service",
                content=f"[Service]\nEnvironment=V={value}\nExecStart=/bin/sleep infinity\n"
                "[Install]\nWantedBy=multi-user.target\n",
            )
            made += [
                unit,
                Service(f"p{tag}s{number}", running=True, enabled=True, on_change=[unit]),
            ]
        random.Random(self.seed).shuffle(made)
        return made


def _free_of_files_below_files(
    files: dict[tuple[str, ...], tuple[str, str | None, int | None]],
) -> bool:
    return not any(a != b and b[: len(a)] == a for a in files for b in files)


WISHES = st.builds(
    Wish,
    files=st.dictionaries(
        st.lists(NAMES, min_size=1, max_size=3).map(tuple),
        st.tuples(CONTENT, MODES, st.none() | st.integers(0, 3)),
        min_size=1,
        max_size=8,
    ).filter(_free_of_files_below_files),
    users=st.lists(st.tuples(st.sampled_from(["/bin/sh", "/bin/bash"]), st.booleans()), max_size=2),
    packages=st.dictionaries(st.sampled_from(PACKAGES), st.booleans(), max_size=2),
    units=st.lists(st.sampled_from(["a", "b c", "d"]), max_size=2),
    seed=st.integers(0, 2**32),
)


def probe(machine, tag: str, packages: list[str]) -> str:
    """Everything an example can declare, as it is; what differs by chance (uids, times) left out."""
    names = " ".join(packages) or "none"
    return on(
        machine,
        f"""
cd /srv/prop/{tag} 2>/dev/null && {{
  find . -printf '%y %m %u %g ' -exec printf '%s' {{}} \\; -printf '\\0' | LC_ALL=C sort -z | base64
  find . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum
}}
getent passwd | grep '^p{tag}u' | cut -d: -f1,5-7 | sort
for u in $(getent passwd | grep -o '^p{tag}u[0-9]*' | sort); do
  id -Gn $u; [ $(id -u $u) -lt 1000 ] && echo system; stat -c '%U %a' $(getent passwd $u | cut -d: -f6)
done 2>/dev/null
for p in {names}; do
  # un: dpkg has heard of the name, as of one that was purged; it is there no more than one it has not.
  dpkg-query -W -f '${{Package}} ${{db:Status-Abbrev}}\\n' $p 2>/dev/null | grep -v ' un *$' || echo no
done
for s in /etc/systemd/system/p{tag}s*.service; do
  [ -e "$s" ] || continue
  sha256sum $s; n=$(basename $s)
  systemctl is-active $n; systemctl is-enabled $n; systemctl show -p Environment -p NeedDaemonReload $n
  # Did the process that runs get what the file says now?
  tr '\\0' '\\n' </proc/$(systemctl show -p MainPID --value $n)/environ | grep ^V=
done
ls -A /var/lib/converge/pending; ls /var/lib/converge/armed 2>/dev/null
dpkg --audit; ls /var/lib/dpkg/updates
""",
    )


def forget(machine, tag: str, wish: Wish) -> None:
    gone = " ".join(wish.packages)
    on(
        machine,
        f"""
for s in /etc/systemd/system/p{tag}s*.service; do
  [ -e "$s" ] || continue; n=$(basename $s); systemctl disable -q --now $n; rm -f $s
done
systemctl daemon-reload
rm -rf /srv/prop/{tag}
for u in $(getent passwd | grep -o '^p{tag}u[0-9]*'); do userdel -r $u 2>/dev/null || :; done
[ -z "{gone}" ] || dpkg --purge {gone} >/dev/null 2>&1 || :
""",
    )


# -- the properties ---------------------------------------------------------------------------


def examples(number: int):
    return settings(
        max_examples=number,
        deadline=None,
        print_blob=True,
        # An example takes seconds on a real server: no more of them than asked for.
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


async def holds(pair, wish: Wish) -> None:
    tag = str(next(_count))
    wanted = wish.resources(tag)
    host = host_of(pair[1])
    try:
        report = await apply(host, wanted)
        assert report.ok, report.render()
        again = await plan(host, wanted)
        assert again.empty, again.render()
        assert (await apply(host, wanted)).passes == 0
    finally:
        forget(pair[1], tag, wish)
        await close()


async def survives(pair, wish: Wish, how: str, moment: float) -> None:
    """Killed at a moment of the run, then applied again: as one clean apply leaves it."""
    tag = str(next(_count))
    wanted = wish.resources(tag)
    wrong, right = (host_of(machine) for machine in pair)
    run = f"prop{tag}"
    try:
        assert (await apply(right, wanted)).ok
        await broken(pair[0], wrong, wanted, run, how, moment)
        # Another controller, with a run of its own, or with the one that was broken off.
        mended = await apply(wrong, wanted, run_id=run if moment > 0.5 else None, lock_wait=120)
        assert mended.ok, mended.render()
        left = await plan(wrong, wanted)
        assert left.empty, left.render()
        packages = list(wish.packages)
        assert probe(pair[0], tag, packages) == probe(pair[1], tag, packages)
    finally:
        for machine in pair:
            forget(machine, tag, wish)
        await close()


async def broken(machine, host: Host, wanted, run: str, how: str, moment: float) -> None:
    """Starts the run, and kills something after about `moment` of its steps."""
    shown = await plan(host, wanted)
    at = int(moment * (len(shown.changes) + 1))
    reached = asyncio.Event()
    begun = itertools.count()

    def step(progress) -> None:
        if progress.working and next(begun) >= at:
            reached.set()

    task = asyncio.create_task(apply(host, wanted, run_id=run, on_progress=step, reconnects=0))
    waiting = asyncio.create_task(reached.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    unit = f"systemctl kill -s KILL 'converge-{run}-*' 2>/dev/null || :"
    note(f"{how} at step {at} of {len(shown.changes)}; over before: {task.done()}")
    if how == "controller":  # what a killed one leaves: a closed connection, a unit at work
        task.cancel()
    elif how == "connection":
        for slot in list(pool().slots.values()):
            with contextlib.suppress(Exception):
                slot.connection.result().abort()
    else:
        task.cancel()
        on(machine, unit)
    with contextlib.suppress(asyncio.CancelledError, ConvergeError):
        await task


HOWS = st.sampled_from(["unit", "controller", "connection"])
MOMENTS = st.floats(0, 1, exclude_max=True)


@given(wish=WISHES)
@examples(3)
async def test_applied_then_nothing_is_left_to_do(pair, wish):
    await holds(pair, wish)


@given(wish=WISHES, how=HOWS, moment=MOMENTS)
@examples(4)
async def test_killed_then_applied_again_is_as_one_clean_apply(pair, wish, how, moment):
    await survives(pair, wish, how, moment)


@pytest.mark.soak
@given(wish=WISHES)
@examples(100)
async def test_soak_applied_then_nothing_is_left_to_do(pair, wish):
    await holds(pair, wish)


@pytest.mark.soak
@given(wish=WISHES, how=HOWS, moment=MOMENTS)
@examples(150)
async def test_soak_killed_then_applied_again_is_as_one_clean_apply(pair, wish, how, moment):
    await survives(pair, wish, how, moment)
