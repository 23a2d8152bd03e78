"""What a host is reached by, as ssh_config says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from converge import Host
from converge.errors import (
    ConnectError,
)
from converge.transport.routes import route_to, through, written


def test_ssh_config_says_what_the_host_does_not(tmp_path: Path) -> None:
    config = tmp_path / "config"
    (tmp_path / "more").write_text("Host web\n  Port 2222\n")
    config.write_text(
        f"Include {tmp_path}/more\n"
        "Host web\n  HostName 192.0.2.7\n  User deploy\n  IdentityFile ~/keys/web\n"
        "  IdentitiesOnly yes\n  CertificateFile /keys/web-cert.pub\n"
        "  UserKnownHostsFile /known/web /known/two\n  HostKeyAlias web-alias\n"
        "  ProxyJump ann@bastion:2200\n  IdentityAgent none\n"
        "Host *\n  User nobody\n"
    )
    route = route_to(Host("web", ssh_config=str(config)))
    assert (route.address, route.port, route.user) == ("192.0.2.7", 2222, "deploy")
    assert route.keys == (str(Path("~/keys/web").expanduser()),)
    assert route.certificates == ("/keys/web-cert.pub",)
    assert route.only_named and route.agent == "" and route.known_name == "web-alias"
    assert route.known_hosts[:2] == ("/known/web", "/known/two")
    assert route.jump is not None
    assert (route.jump.address, route.jump.port, route.jump.user) == ("bastion", 2200, "ann")
    # What the host says itself wins.
    mine = route_to(
        Host(
            "web",
            user="eve",
            port=22,
            key="/k",
            jump="none",
            known_hosts="/kh",
            ssh_config=str(config),
        )
    )
    assert (mine.user, mine.port, mine.keys, mine.jump) == ("eve", 22, ("/k",), None)
    assert mine.known_hosts == ("/kh",)
    assert route_to(Host("other", ssh_config=str(config))).user == "nobody"
    assert route_to(Host("web", ssh_config="none")).address == "web"


def test_a_broken_ssh_config_names_file_and_line(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host *\n  Port many\n")
    with pytest.raises(ConnectError, match=r"config line 2"):
        route_to(Host("web", ssh_config=str(config)))
    with pytest.raises(ConnectError, match="no readable ssh_config"):
        route_to(Host("web", ssh_config=str(tmp_path / "none-such")))


def test_jumps_are_read_as_ssh_writes_them() -> None:
    last = through(Host("web", key="/k", ssh_config="none"), "ann@one:2201,[2001:db8::2]:22,three")
    assert last is not None and last.address == "three"
    assert written(last) == "ann@one:2201,[2001:db8::2]:22,three"
    assert last.key == "/k"
    with pytest.raises(ConnectError, match="no-port"):
        through(Host("web"), "one,no-port:x")


def test_a_jump_for_every_host_is_none_for_itself(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host *\n  ProxyJump bastion\n")
    assert route_to(Host("bastion", ssh_config=str(config))).jump is None
    assert route_to(Host("web", ssh_config=str(config))).jump is not None
