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
