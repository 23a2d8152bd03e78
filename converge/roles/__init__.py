"""Roles: reusable functions of parameters to resources, ours and those beside a spec.

    - role: baseline
      with:
        admins: [{user: ann, keys: [ssh-ed25519 AAAA.. ann]}]

In Python they are functions: `[*baseline(open_ports=(80,)), *nginx(sites=(...,))]`.
"""

from __future__ import annotations

from converge.roles.app_host import app_host
from converge.roles.baseline import baseline
from converge.roles.expanding import RoleMisfit, expand
from converge.roles.postgresql import postgresql
from converge.roles.role import Parameters, Role, role_of
from converge.roles.web import haproxy, nginx

__all__ = [
    "Parameters",
    "Role",
    "RoleMisfit",
    "app_host",
    "baseline",
    "expand",
    "haproxy",
    "nginx",
    "postgresql",
    "role_of",
]
