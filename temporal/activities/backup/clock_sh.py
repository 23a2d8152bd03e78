"""Whose clock counts, as sh: the worker's, where the host's is off. Pure."""

from __future__ import annotations

# Between the worker's look at its clock and ours are a connection and a wait for the lock, of half a
# minute at most.
_CLOCK = r"""
clock=$(date +%s) off=$((clock - their_now)) skewed=
if [ "$off" -lt -60 ] || [ "$off" -gt 120 ]; then skewed=yes; fi
rec clock "$off" $skewed
corrected() { date -d "@$(($(date +%s) - off))" '+%Y-%m-%d %H:%M:%S'; }
"""


def clock(now: int) -> str:
    """sh that sets $off, by how many seconds the host's clock is ahead, and $skewed, if that is over two
    minutes; and defines `corrected`, which prints the time for restic's --time. Record: `clock OFF`, and
    `yes` if it is skewed.

    Args:
        now: seconds since 1970 by the worker's clock.
    """
    return f"their_now={now}\n{_CLOCK}"
