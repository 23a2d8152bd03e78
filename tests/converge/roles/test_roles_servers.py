"""Our roles on a real server: applied, then nothing is left to do, and what they promise holds."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

import lab
from converge import Host, apply, close, plan
from converge.roles import app_host, baseline, haproxy, nginx, postgresql
from converge.roles.baseline import Admin
from converge.roles.postgresql import Database, DbRole
from converge.roles.web import Backend, Frontend, Site
from lab import Machine

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(bool(lab.missing()), reason="; ".join(lab.missing())),
]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ann@example"

from lab.testing import fresh_lab, machine  # noqa: E402, F401


@pytest.fixture(autouse=True)
async def ended() -> Iterator[None]:
    yield
    await close()


def on(server: Machine, command: str, check: bool = True) -> str:
    done = subprocess.run(
        server.ssh_command(command), capture_output=True, text=True, check=False, timeout=120
    )
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.strip()


def secrets(ref: str) -> bytes:
    return {"env://DB": b"correct horse battery"}[ref]


@pytest.mark.parametrize("release", ["bookworm", "trixie"])
async def test_every_role_of_ours_on_one_server(release: str, machine) -> None:  # noqa: F811
    server = machine(release)
    host = Host(
        server.address, user=server.user, key=str(server.key), known_hosts=str(server.known_hosts)
    )
    wanted = [
        *baseline(
            admins=(Admin(user="ann", keys=(KEY,)),),
            open_ports=(80,),
            container=True,
            timezone="Europe/Berlin",
        ),
        *app_host("app", "/bin/sh -c 'echo up; exec sleep infinity'", environment={"A": "b c%d"}),
        *nginx(sites=(Site(name="front", listen=("8081",), root="/srv/app/shared"),)),
        *haproxy(
            (Frontend(name="in", bind=("*:80",), backend="web"),),
            (Backend(name="web", servers=("127.0.0.1:8081",)),),
        ),
        *postgresql(
            version={"bookworm": 15, "trixie": 17}[release],
            settings={"max_connections": 30},
            roles=(DbRole(name="app", password="env://DB"),),
            databases=(Database(name="app", owner="app"),),
        ),
    ]
    report = await apply(host, wanted, secrets=secrets)
    assert report.ok, report.render()
    left = await plan(host, wanted, secrets=secrets)
    assert left.empty, left.render()
    # baseline
    sshd = on(server, "sshd -T")
    assert "passwordauthentication no" in sshd and "x11forwarding no" in sshd
    assert "policy drop" in on(server, "nft list ruleset")
    assert on(server, "sudo -u ann sudo -n id -u") == "0"
    assert on(server, "umask") == "0027" and on(server, "stat -c %a /home/ann") == "700"
    assert on(server, "date +%Z") in ("CET", "CEST")
    assert "correct horse" not in on(server, "grep -rs 'correct horse' /etc /var/lib/converge || :")
    # app_host: runs as its user, with what it was given
    pid = on(server, "systemctl show -p MainPID --value app")
    assert on(server, f"stat -c %U /proc/{pid}") == "app"
    assert "A=b c%d" in on(server, f"tr '\\0' '\\n' </proc/{pid}/environ").splitlines()
    # haproxy answers from nginx, postgresql takes the password
    # By the umask of baseline it would be readable for nobody else.
    on(server, "echo it-is-so >/srv/app/shared/page; chmod 644 /srv/app/shared/page")
    ask = "exec 3<>/dev/tcp/127.0.0.1/80; printf 'GET /page HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
    assert on(server, f'bash -c "{ask}"').endswith("it-is-so")
    assert "server_tokens off" in on(server, "nginx -T 2>/dev/null | grep -v '#'")
    asked = (
        "PGPASSWORD='correct horse battery' psql -h 127.0.0.1 -U app -tAc 'SHOW max_connections'"
    )
    assert on(server, f"{asked} app") == "30"
