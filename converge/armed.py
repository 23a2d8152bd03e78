"""Changes that can cut us off: the host takes them back unless a fresh connection confirms them.

Before such a step the unit saves what is at stake below its state folder, writes a `revert`
script that needs nothing else, and has a guard started beside it (a unit of its own). Then it
applies, says `confirm` in its journal and waits. Whoever follows opens a new connection (TCP,
login, sudo: all that may have broken) and writes the verdict. Where nobody does in time, the
guard reverts. The first one to write the verdict has it, so there is never both.

    dies                          what takes the change back
    the controller                the guard, unless another attaches in time and confirms
    the unit (killed, aborted)    the guard, at once
    the guard                     it is restarted (systemd); else the unit that waits
    all of them                   the next unit, before it does anything
    the machine                   a unit at boot that puts the files back before sshd and network start

Pure: what is armed is told from the resources, and the rest is text for the host.
The model is commit-confirmed, as routers have it and deploy-rs for NixOS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from converge import preamble
from converge.armed_sh import BACK, CONFIRM, GUARD, REVERT, UNITS_BACK
from converge.graph import Spec
from converge.host import Host
from converge.planner import Step
from converge.resource import Resource, Stake
from converge.shell import complete, quote, words

CONFIRM_WITHIN = 60
"""Seconds from the end of the change to its confirmation."""
LONGEST = 1800
"""Seconds from its beginning, however long what it consists of takes."""

_SSH = ("ssh.service",)
_NFT = Stake(
    units=("nftables.service",),
    save="! command -v nft >/dev/null || { echo 'flush ruleset'; nft list ruleset; } >ruleset",
    restore="if [ -s ruleset ]; then nft -f ruleset; elif command -v nft >/dev/null; then"
    " nft flush ruleset; fi",
)
_NETWORK = ("networking.service", "systemd-networkd.service", "NetworkManager.service")

# Where a plain file can do the same harm as a type made for it.
_PLACES: tuple[tuple[str, Stake], ...] = (
    ("/etc/ssh/", Stake(units=_SSH)),
    ("/etc/nftables", _NFT),
    ("/etc/sudoers", Stake()),
    ("/etc/pam.d/", Stake()),
    ("/etc/security/", Stake()),
    ("/etc/hosts.allow", Stake()),
    ("/etc/hosts.deny", Stake()),
    ("/etc/network/", Stake(units=_NETWORK[:1])),
    ("/etc/systemd/network/", Stake(units=_NETWORK[1:2])),
    ("/etc/netplan/", Stake(units=_NETWORK[1:])),
    ("/etc/NetworkManager/", Stake(units=_NETWORK[2:])),
)
_SERVICES: dict[str, Stake] = {
    "ssh.service": Stake(),
    "sshd.service": Stake(),
    "ssh.socket": Stake(),
    "nftables.service": _NFT,
    **dict.fromkeys(_NETWORK, Stake()),
}
_ACCOUNTS = ("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow")


def stake_of(resource: Resource, login: str | None) -> Stake | None:
    """What a change of this resource puts at stake for who logs in as `login`; None: nothing."""
    # Imported late: a run that changes nothing needs only the types of its own resources.
    from converge.resources import File, Service, User

    declared = resource.stake()
    found = [] if declared is None else [declared]
    if isinstance(resource, File):
        found += [_join([Stake(paths=(resource.file,))])] if _places([resource.file]) else []
    elif isinstance(resource, User) and login is not None and resource.user == login:
        found.append(Stake(paths=(*_ACCOUNTS, f"{resource.likely_home}/.ssh")))
    elif isinstance(resource, Service) and resource.unit in _SERVICES:
        found += [Stake(units=(resource.unit,)), _SERVICES[resource.unit]]
    if not found:
        return None
    return _join([*found, *_places([path for one in found for path in one.paths])])


def _places(paths: Sequence[str]) -> list[Stake]:
    return [
        stake
        for begin, stake in _PLACES
        if any(f"{path}/".startswith(begin) for path in paths)
        or any(path.startswith(begin) for path in paths)
    ]


def _join(stakes: Sequence[Stake]) -> Stake:
    def unique(values: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(value for value in values if value))

    return Stake(
        paths=unique([path for one in stakes for path in one.paths]),
        units=unique([unit for one in stakes for unit in one.units]),
        # In subshells: what one keeps or fails at is not the next one's trouble.
        save="\n".join(f"( {text}\n)" for text in unique([one.save for one in stakes])),
        restore="\n".join(f"( {text}\n)" for text in unique([one.restore for one in stakes])),
    )


@dataclass(frozen=True)
class Window:
    """Steps `first` to `last` are confirmed together; `armed` are the resources at stake."""

    first: int
    last: int
    armed: tuple[int, ...]
    stake: Stake


def windows(spec: Spec, planned: Sequence[Step], login: str | None) -> list[Window]:
    """Neighbours that are armed, and those that wait for one another, share a window.

    So a firewall's file and the service that loads it are one change; what has nothing to do with
    it is not held up in between, unless it was declared there.
    """
    stakes: dict[int, Stake] = {}
    for number, step in enumerate(planned):
        mine = [stake_of(spec.resources[index], login) for index in step.members]
        found = [stake for stake in mine if stake is not None]
        if found:
            stakes[number] = _join(found)
    groups: list[list[int]] = []
    for number in stakes:
        needs = _all_needs(spec, planned[number].members)
        at = next(
            (
                place
                for place, group in enumerate(groups)
                if group[-1] == number - 1
                or any(needs & set(planned[other].members) for other in group)
            ),
            None,
        )
        if at is None:
            groups.append([number])
        else:
            groups[at:] = [[other for group in groups[at:] for other in group] + [number]]
    return [
        Window(
            group[0],
            group[-1],
            tuple(index for number in group for index in planned[number].members),
            _join([stakes[number] for number in group]),
        )
        for group in groups
    ]


def _all_needs(spec: Spec, members: Sequence[int]) -> set[int]:
    found: set[int] = set()
    ahead = list(members)
    while ahead:
        for need in spec.needs[ahead.pop()]:
            if need not in found:
                found.add(need)
                ahead.append(need)
    return found


def opening(host: Host, window: Window, number: int, within: int) -> str:
    """sh for the unit, before the first step of the window. Defines what `arm_open` calls."""
    stake = window.stake
    saves = [f"arm_keep {n} {quote(path)}" for n, path in enumerate(stake.paths)]
    saves += [f"arm_unit {n} {quote(unit)}" for n, unit in enumerate(stake.units)]
    return "\n".join(
        [
            f"arm_save() {{\n{_lines(saves)}\n{stake.save}\n}}",
            f"arm_revert() {{\ncat <<'END_REVERT'\n{_revert(host, stake)}END_REVERT\n}}",
            f"arm_guard() {{\ncat <<'END_GUARD'\n{GUARD.lstrip()}END_GUARD\n}}",
            f"arm_open {number} {within} {LONGEST} {words(map(str, window.armed))}",
        ]
    )


def closing(number: int) -> str:
    """sh for the unit, after the last step of the window."""
    return f"arm_close {number}"


def _revert(host: Host, stake: Stake) -> str:
    """A whole script: whatever else is gone, this can be run."""
    back = [f"arm_back {n} {quote(path)}" for n, path in enumerate(stake.paths)]
    units = [f"arm_unit_back {n} {quote(unit)}" for n, unit in enumerate(stake.units)]
    return "\n".join(
        [
            "main() {",
            preamble.ENVIRONMENT,
            BACK,
            UNITS_BACK,
            f"arm_paths() {{\n{_lines(back)}\n}}",
            # Units first: stopping a firewall's takes all rules away, whoever made them.
            f"arm_live() {{\n{_lines(units)}\n{stake.restore}\n}}",
            REVERT,
            "}",
            'main "$@" </dev/null',
            "",
        ]
    )


def _lines(lines: Sequence[str]) -> str:
    return "\n".join(lines) or ":"


def confirm_script(host: Host, nonce: str, run_id: str, number: int, window: int) -> bytes:
    """To be run over a connection made for it. Says `confirmed`, or `late` and the verdict."""
    return complete(
        "\n".join(
            [
                preamble.ENVIRONMENT,
                preamble.record(nonce),
                preamble.places(host),
                f"A=$S/armed/{run_id}.{number}.{window}",
                CONFIRM,
                "rec .",
            ]
        )
    )
