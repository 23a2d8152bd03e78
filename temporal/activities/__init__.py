"""Every activity, registered. Add yours at the end: import it, then append it."""

from collections.abc import Callable
from typing import Any

from temporal.activities.automation.answers import check_answers
from temporal.activities.automation.commands import run_on_host
from temporal.activities.automation.converging import (
    converge_host,
    converge_member,
    plan_host,
    plan_member,
)
from temporal.activities.automation.creating import (
    create_server,
    discard_server,
    locate_server,
)
from temporal.activities.automation.drift import detect_drift_on
from temporal.activities.automation.health import check_health
from temporal.activities.automation.hosts import wait_for_login
from temporal.activities.automation.notices import notify
from temporal.activities.automation.patching import patch_host, reboot_host
from temporal.activities.automation.registering import forget_host, register_host
from temporal.activities.backup.drilling import choose_drill, drill_host
from temporal.activities.backup.inspecting import (
    list_snapshots,
    look_at_backups,
    publish_status,
)
from temporal.activities.backup.maintaining import choose_maintenance, maintain_on_host
from temporal.activities.backup.making import make_repository
from temporal.activities.backup.restoring import find_snapshot, restore_on_host
from temporal.activities.backup.saving import back_up_host
from temporal.activities.test import test_activity

ACTIVITIES: list[Callable[..., Any]] = []

ACTIVITIES.append(test_activity)
ACTIVITIES.append(converge_host)
ACTIVITIES.append(check_answers)
ACTIVITIES.append(plan_host)
ACTIVITIES.append(converge_member)
ACTIVITIES.append(plan_member)
ACTIVITIES.append(notify)
ACTIVITIES.append(detect_drift_on)
ACTIVITIES.append(check_health)
ACTIVITIES.append(run_on_host)
ACTIVITIES.append(patch_host)
ACTIVITIES.append(reboot_host)
ACTIVITIES.append(create_server)
ACTIVITIES.append(discard_server)
ACTIVITIES.append(locate_server)
ACTIVITIES.append(wait_for_login)
ACTIVITIES.append(register_host)
ACTIVITIES.append(forget_host)
ACTIVITIES.append(back_up_host)
ACTIVITIES.append(find_snapshot)
ACTIVITIES.append(restore_on_host)
ACTIVITIES.append(choose_drill)
ACTIVITIES.append(drill_host)
ACTIVITIES.append(make_repository)
ACTIVITIES.append(look_at_backups)
ACTIVITIES.append(publish_status)
ACTIVITIES.append(choose_maintenance)
ACTIVITIES.append(maintain_on_host)
ACTIVITIES.append(list_snapshots)
