"""Every trial activity."""

from collections.abc import Callable
from typing import Any

from trial.activities.fleet.patrol import fleet_queue
from trial.activities.moods import (
    big,
    block_loop,
    count_all,
    declared,
    hang,
    heartbeat_secret,
    log_secret,
    make_item,
    plain_queue,
    raise_details,
    raise_long,
    raise_secret,
    return_secret,
    silent,
    slow,
    slow_in_thread,
    undecodable,
)

ACTIVITIES: list[Callable[..., Any]] = [
    big,
    block_loop,
    count_all,
    declared,
    fleet_queue,
    hang,
    heartbeat_secret,
    log_secret,
    make_item,
    plain_queue,
    raise_details,
    raise_long,
    raise_secret,
    return_secret,
    silent,
    slow,
    slow_in_thread,
    undecodable,
]
