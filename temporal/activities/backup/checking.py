"""Checks of a repository: which part is next, and what notes of earlier ones mean. Pure.

The content is checked in parts, n of t: packs whose id begins with a byte that fits. A check of any part
looks at all of the structure as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from temporal.activities.backup.listing import Snapshot

STRUCTURE = "structure"
_NEVER = datetime.min.replace(tzinfo=UTC)


class Checks:
    """What the notes of checks say together.

    Attributes:
        last: the newest note; None if nothing was ever checked.
        damaged: parts that were damaged when they were last checked. As long as it is not checked
            again, a part stays so.
        packs, hit: ids of damaged packs, and of snapshots that this hits, as far as notes name them.
        hits: how many snapshots; None if that could not be found out.
        blind: of snapshots made after the first of these times nobody knows whether they are hit, unless
            they were proved after the second; None: nothing is damaged.
    """

    def __init__(self, notes: Sequence[Snapshot], subsets: int) -> None:
        self._subsets = subsets
        self._notes = [each for each in notes if each.tags.get("subset")]
        self.last = self._notes[-1] if self._notes else None
        wrong = self._unsettled()
        self.damaged = tuple(dict.fromkeys(each.tags["subset"] for each in wrong))
        self.packs = _joined(wrong, "pack")
        self.hit = _joined(wrong, "hit")
        known = all(each.tags.get("hits", "").isdigit() for each in wrong)
        most = max((int(each.tags["hits"]) for each in wrong), default=0) if known else 0
        self.hits = max(most, len(self.hit)) if known else None
        named = (
            all(int(e.tags["hits"]) <= len(_joined([e], "hit")) for e in wrong) if known else False
        )
        # Snapshots made later share what is damaged, and no note names them.
        self.blind = (wrong[0].time if named else _NEVER, wrong[-1].time) if wrong else None

    def due(self) -> tuple[str, ...]:
        """The parts whose turn it is: the one that is longest ago, and after it one that was found
        damaged, so that it is soon known when that is over."""
        if not self._subsets:
            return (STRUCTURE,)
        parts = [f"{number}/{self._subsets}" for number in range(1, self._subsets + 1)]
        done = {part: self._checked(part) for part in parts}
        turn = min(parts, key=lambda part: done[part])
        again = sorted((part for part in self.damaged if part in done), key=lambda part: done[part])
        return tuple(dict.fromkeys([turn, *again[:1]]))

    def _checked(self, part: str) -> datetime:
        """When it was last checked to an end."""
        times = [
            each.time
            for each in self._notes
            if each.tags["subset"] == part and each.tags.get("result") in ("ok", "damaged")
        ]
        return times[-1] if times else _NEVER

    def _unsettled(self) -> list[Snapshot]:
        """Notes of damage that no later check has shown to be over."""
        found: dict[str, Snapshot] = {}
        for each in self._notes:
            if each.tags.get("result") == "damaged":
                found[each.tags["subset"]] = each
        wrong = [each for each in found.values() if not self._settled(each)]
        return sorted(wrong, key=lambda each: each.time)

    def _settled(self, note: Snapshot) -> bool:
        part = note.tags["subset"]
        later = {
            each.tags["subset"]
            for each in self._notes
            if each.tags.get("result") == "ok" and each.time > note.time
        }
        every = {f"{number}/{self._subsets}" for number in range(1, self._subsets + 1)}
        if part == STRUCTURE:
            return bool(later)
        # Of a division that is no more in use only all of the present one can tell.
        return part in later or (bool(every) and every <= later)


def _joined(notes: Sequence[Snapshot], tag: str) -> tuple[str, ...]:
    named = [word for each in notes for word in each.tags.get(tag, "").split("+") if word]
    return tuple(dict.fromkeys(named))
