"""What a server should look like: probe, plan, apply, verify. One round trip each way.

    from converge import Host, Package, User, File, Service, plan, apply

    host = Host("198.18.0.2", user="root", key="id_ed25519", known_hosts="known_hosts")
    site = File("/etc/nginx/conf.d/site.conf", content="...")
    wanted = [
        Package("nginx"),
        site,
        Service("nginx", running=True, enabled=True, on_change=[site], action="reload"),
    ]
    print((await plan(host, wanted)).render())
    report = await apply(host, wanted)

Types and engine are loaded when first asked for; the types are free of I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converge import errors
from converge.changes import Change, FieldChange
from converge.errors import ConvergeError
from converge.host import Host
from converge.plans import Plan
from converge.reports import Outcome, Report
from converge.resource import Ref, Resource
from converge.resources import BY_KEY as _TYPES
from converge.resources import AnyResource

if TYPE_CHECKING:
    from converge.engine import abort, apply, plan
    from converge.material import folder
    from converge.ran import Ran, Said
    from converge.resources import *  # noqa: F403
    from converge.running import run
    from converge.transport import close
    from converge.work import Progress

_LATE = {
    "Progress": "converge.work",
    "Ran": "converge.ran",
    "Said": "converge.ran",
    "abort": "converge.engine",
    "apply": "converge.engine",
    "plan": "converge.engine",
    "run": "converge.running",
    "close": "converge.transport",
    "folder": "converge.material",
}


if not TYPE_CHECKING:  # a checker would take it for every name that there is not

    def __getattr__(name: str) -> Any:
        if name in _LATE:
            return getattr(__import__(_LATE[name], fromlist=(name,)), name)
        try:
            return _TYPES.named(name)
        except KeyError:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "AnyResource",
    "Change",
    "ConvergeError",
    "FieldChange",
    "Host",
    "Outcome",
    "Plan",
    "Progress",
    "Ran",
    "Ref",
    "Report",
    "Resource",
    "Said",
    "abort",
    "apply",
    "close",
    "errors",
    "folder",
    "plan",
    "run",
]
__all__ += _TYPES.names
