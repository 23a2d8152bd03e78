"""The work of the contest: the baseline of a web server, and how each contestant writes it.

Only what all three have a type for; each file is a resource of its own everywhere, and so are
users and services. Packages stand in one task at the peers, as their manuals advise.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Account:
    name: str
    shell: str
    groups: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    comment: str = ""


@dataclass(frozen=True)
class Text:
    path: str
    content: str
    mode: str = "0644"
    owner: str = "root"
    group: str = "root"
    reloads: bool = False


PACKAGES = ("cron", "curl", "logrotate", "nginx", "rsync")
IN_THE_IMAGE = ("python3", "python3-apt")
"""Ansible needs them on a server; every contestant's servers have them before the clock starts."""
_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"
ACCOUNTS = (
    Account(
        "deploy",
        "/bin/bash",
        ("adm", "www-data"),
        (f"{_KEY}E2Flv2lJEA1BmO1ZyUvEL/rzway5wg8YBpgsYWRp7ug deploy@example.org",),
        "Deployments",
    ),
    Account(
        "oper",
        "/bin/bash",
        ("adm", "sudo"),
        (f"{_KEY}J5fGyN4jN1dbVYx3Mmw2LDKlg3LJ0JPZ0CgOYVxPzTw oper@example.org",),
        "Operations",
    ),
    Account("reporter", "/bin/sh", (), (), "Reports"),
)
SERVICES = ("cron", "nginx")


def files(value: str) -> tuple[Text, ...]:
    """Every file; `value` is what one change changes."""
    server = (
        "server {\n  listen 80 default_server;\n  root /var/www/html;\n  index index.html;\n"
        "  include snippets/headers.conf;\n  location / { try_files $uri $uri/ =404; }\n}\n"
    )
    words = " ".join(f"word{number}" for number in range(400))
    return (
        Text("/etc/nginx/conf.d/limits.conf", f"# {value}\nserver_tokens off;\n", reloads=True),
        Text("/etc/nginx/conf.d/gzip.conf", "gzip_min_length 512;\n", reloads=True),
        Text(
            "/etc/nginx/snippets/headers.conf",
            "add_header X-Content-Type-Options nosniff always;\n",
            reloads=True,
        ),
        Text("/etc/nginx/sites-available/default", server, reloads=True),
        Text(
            "/var/www/html/index.html",
            f"<!doctype html>\n<title>site</title>\n<p>{words}\n",
            owner="deploy",
            group="www-data",
        ),
        Text("/var/www/html/robots.txt", "User-agent: *\n", owner="deploy", group="www-data"),
        Text("/etc/sysctl.d/60-web.conf", "net.core.somaxconn = 4096\nvm.swappiness = 10\n"),
        Text("/etc/cron.d/report", "17 3 * * * reporter /usr/bin/true\n"),
        Text("/etc/logrotate.d/site", "/var/log/site/*.log {\n  weekly\n  missingok\n}\n"),
        Text("/etc/sudoers.d/deploy", "deploy ALL=(root) /bin/systemctl reload nginx\n", "0440"),
        Text("/etc/motd", "This server is managed.\n"),
        Text("/etc/security/limits.d/site.conf", "deploy soft nofile 65536\n"),
        Text("/etc/systemd/journald.conf.d/60-size.conf", "[Journal]\nRuntimeMaxUse=64M\n"),
        Text("/etc/default/site", "MODE=production\n", "0640", group="adm"),
        Text("/etc/profile.d/site.sh", "export SITE=web\n"),
    )


def count() -> int:
    """How many resources it is."""
    return len(PACKAGES) + len(ACCOUNTS) + len(files("")) + len(SERVICES)


def resources(value: str) -> list[dict[str, Any]]:
    """For converge: the list of a spec."""
    found: list[dict[str, Any]] = [{"package": name} for name in PACKAGES]
    for one in ACCOUNTS:
        user: dict[str, Any] = {"user": one.name, "shell": one.shell, "comment": one.comment}
        if one.groups:
            user["groups"] = list(one.groups)
        if one.keys:
            user |= {"authorized_keys": list(one.keys), "authorized_keys_exclusive": True}
        found.append(user)
    for text in files(value):
        found.append(
            {
                "file": text.path,
                "content": text.content,
                "mode": text.mode,
                "owner": text.owner,
                "group": text.group,
            }
        )
    for name in SERVICES:
        service: dict[str, Any] = {"service": name, "running": True, "enabled": True}
        if name == "nginx":
            heard = [{"file": text.path} for text in files(value) if text.reloads]
            service |= {"action": "reload", "on_change": heard}
        found.append(service)
    return found


def playbook(value: str) -> list[dict[str, Any]]:
    """For Ansible: one play without facts, a handler that reloads."""
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.apt": {"name": list(PACKAGES), "state": "present"}}
    ]
    for one in ACCOUNTS:
        user = {"name": one.name, "shell": one.shell, "comment": one.comment}
        more = {"groups": list(one.groups), "append": True} if one.groups else {}
        tasks.append({"ansible.builtin.user": {**user, **more}})
        if one.keys:
            key = {"user": one.name, "key": "\n".join(one.keys), "exclusive": True}
            tasks.append({"ansible.posix.authorized_key": key})
    for text in files(value):
        copy = {
            "dest": text.path,
            # Ansible would take braces for its own.
            "content": text.content,
            "mode": text.mode,
            "owner": text.owner,
            "group": text.group,
        }
        notify = {"notify": "reload nginx"} if text.reloads else {}
        tasks.append({"ansible.builtin.copy": copy, **notify})
    for name in SERVICES:
        wanted = {"name": name, "state": "started", "enabled": True}
        tasks.append({"ansible.builtin.systemd_service": wanted})
    reload = {"name": "reload nginx", "ansible.builtin.systemd_service": {}}
    reload["ansible.builtin.systemd_service"] = {"name": "nginx", "state": "reloaded"}
    return [{"hosts": "all", "gather_facts": False, "tasks": tasks, "handlers": [reload]}]


def deploy(value: str) -> str:
    """For pyinfra: the text of a deploy."""
    lines = [
        "from io import StringIO",
        "from pyinfra.operations import apt, files, server, systemd",
        f"apt.packages(packages={list(PACKAGES)!r})",
    ]
    for one in ACCOUNTS:
        more = f", groups={list(one.groups)!r}, append=True" if one.groups else ""
        more += f", public_keys={list(one.keys)!r}, delete_keys=True" if one.keys else ""
        lines.append(
            f"server.user(user={one.name!r}, shell={one.shell!r}, comment={one.comment!r},"
            f" home={'/home/' + one.name!r}, create_home=True{more})"
        )
    lines.append("heard = []")
    for text in files(value):
        put = (
            f"files.put(src=StringIO({json.dumps(text.content)}), dest={text.path!r},"
            f" mode={text.mode!r}, user={text.owner!r}, group={text.group!r})"
        )
        lines.append(f"heard.append({put})" if text.reloads else put)
    lines += [f"systemd.service(service={name!r}, running=True, enabled=True)" for name in SERVICES]
    lines.append(
        "systemd.service(service='nginx', reloaded=True,"
        " _if=lambda: any(one.did_change() for one in heard))"
    )
    return "\n".join(lines) + "\n"


def look() -> str:
    """sh that prints what a server is like, alike wherever the work was done alike.

    The file that a change changes is looked at without its content.
    """
    changing, *others = (text.path for text in files(""))
    names = " ".join(one.name for one in ACCOUNTS)
    return f"""
export LC_ALL=C
stat -c '%n %F %a %U %G' {changing}
for path in {" ".join(others)}; do stat -c '%n %F %a %U %G' "$path"; sha256sum "$path"; done
for name in {names}; do
  getent passwd "$name" | cut -d: -f1,5,6,7 | sed 's/,*:/:/'
  id -nG "$name" | tr ' ' '\\n' | sort | tr '\\n' ' '; echo
  stat -c '%n %a %U %G' "/home/$name" "/home/$name/.ssh" "/home/$name/.ssh/authorized_keys" 2>&1
  [ ! -e "/home/$name/.ssh/authorized_keys" ] || grep . "/home/$name/.ssh/authorized_keys"
done
dpkg-query -W -f '${{Package}} ${{Version}} ${{Status}}\\n' {" ".join(PACKAGES)}
for unit in {" ".join(SERVICES)}; do systemctl is-active "$unit"; systemctl is-enabled "$unit"; done
nginx -t 2>&1 | grep -c successful
curl -s http://127.0.0.1/ | sha256sum
"""
