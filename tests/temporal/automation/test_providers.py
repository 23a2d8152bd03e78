"""Providers: a cloud through libcloud, asked directly; what it refuses, and what its answers mean.

The cloud is moto's EC2 server.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest

from temporal.activities.automation.providers import marks, provider
from temporal.activities.automation.providers.failures import explained
from temporal.shared import Permanent, Retryable
from temporal.shared.specs.automation.places import CloudPlace
from tests.temporal.automation.clouds import Cloud, order

QUOTA = "You have requested more instances (2) than your current instance limit of 1 allows"


def test_one_token_is_one_server(cloud: Cloud) -> None:
    wanted = order(cloud.order(tags={"team": "web"}, user_data="#cloud-config"))
    there = provider(wanted)
    first = there.create(wanted, "ops-1")
    assert there.create(wanted, "ops-1").id == first.id
    second = there.create(wanted, "ops-2")
    assert second.id != first.id and len(cloud.servers()) == 2
    tags = {node.id: node.extra["tags"] for node in cloud.servers()}[first.id]
    assert tags == {"Name": "web1", "team": "web", marks.TAG: "ops-1"}
    assert [each.id for each in there.find(token="ops-1")] == [first.id]
    assert {each.id for each in there.find(name="web1")} == {first.id, second.id}
    assert not there.find(name="web2") and not there.find(id="i-0123456789abcdef0")
    assert there.destroy(first.id) and not there.destroy(first.id)
    assert [node.id for node in cloud.servers()] == [second.id]


def test_the_client_token_goes_along(cloud: Cloud) -> None:
    wanted = order(cloud.order())
    provider(wanted).create(wanted, "ops-7")
    assert "ClientToken=ops-7" in cloud.proxy.seen["RunInstances"]


def test_how_to_go_there(cloud: Cloud) -> None:
    login = {"user": "admin", "sudo": True, "accept_new_host_key": True}
    for which in ("public", "private"):
        wanted = order(cloud.order(address=which, login=login))
        there = provider(wanted)
        found = there.create(wanted, f"ops-{which}")
        (node,) = [each for each in cloud.servers() if each.id == found.id]
        host = there.host(found)
        assert host.address == getattr(node, f"{which}_ips")[0]
        assert (host.name, host.user, host.sudo) == ("web1", "admin", True)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"provider": "ec3"}, "no compute driver 'ec3'; near it: ec2"),
        ({"region": "mars"}, "does not take these credentials, region and connection"),
        ({"connection": {"hosst": "127.0.0.1"}}, "ec2 knows no hosst; it knows .*host"),
        ({"size": "t3.micr"}, "has no size 't3.micr'; near it: t3.micro"),
        ({"image": "ami-1"}, "ami-1"),
        ({"location": "mars-1a"}, "has no location 'mars-1a'"),
        ({"options": {"ex_metadata": {"a": "b"}}}, "ex_metadata is set by other fields already"),
        ({"options": {"ex_nonsense": 1}}, "ex_nonsense"),
        ({"credentials": {"key": "env://NOT_SET_ANYWHERE"}}, "no variable NOT_SET_ANYWHERE"),
    ],
)
def test_what_cannot_be_is_refused_at_once(cloud: Cloud, wrong: dict[str, Any], says: str) -> None:
    wanted = order({**cloud.order(), **wrong})
    with pytest.raises(Permanent, match=says.replace("'", ".")):
        provider(wanted).create(wanted, "ops-1")
    assert not cloud.servers()


def test_without_libcloud_it_says_what_to_install(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = order(cloud.order())
    # As it is where it was never installed: Python refuses a module that is None there.
    monkeypatch.setitem(sys.modules, "libcloud.compute.providers", None)
    with pytest.raises(Permanent, match=r"install temporal-ops\[cloud\]"):
        provider(wanted)


def test_what_nobody_tagged_is_told_by_the_end_of_its_name() -> None:
    name, given = marks.marked(["name", "size"], "web1", "ops-1", {})
    assert given == {} and name.startswith("web1-")
    assert marks.borne(["name", "size"], name, {})[0] == "web1"
    token = marks.borne(["name", "size"], name, {})[1]
    assert marks.same("ops-1", token) and not marks.same("ops-2", token)
    assert marks.borne(["ex_metadata"], name, {}) == (name, ""), "where there are tags they decide"
    others = "web1-7d9f8c6b5d12"
    assert marks.borne(["name", "size"], others, {}) == (others, ""), "somebody else's names"
    with pytest.raises(Permanent, match="takes no tags"):
        marks.marked(["name"], "web1", "ops-1", {"team": "web"})
    with pytest.raises(Permanent, match="takes no key_pair"):
        marks.extras(["name"], "ops", None)


@pytest.mark.parametrize(
    ("code", "said", "kind", "word"),
    [
        (400, "InstanceLimitExceeded: " + QUOTA, Permanent, "a quota is reached"),
        (403, "Quota exceeded for cores: Requested 4, but already used 20", Permanent, "quota"),
        (422, "creating this would exceed your droplet limit", Permanent, "a quota is reached"),
        (503, "RequestLimitExceeded: Request limit exceeded.", Retryable, "asked too often"),
        (429, "429 Rate limit exceeded", Retryable, "asked too often"),
        (500, "InsufficientInstanceCapacity: we do not have", Retryable, "fails"),
        (401, "Unauthorized", Permanent, "refuses the credentials"),
        (400, "InvalidParameterValue: bad", Permanent, "refuses"),
    ],
)
def test_which_answers_are_worth_another_try(
    code: int, said: str, kind: type[Exception], word: str
) -> None:
    from libcloud.common.exceptions import BaseHTTPError

    told = explained(BaseHTTPError(code, said), "acme", "creating web1")
    assert type(told) is kind and word in told.message and said in told.message


def test_an_address_that_was_signed_is_not_shown() -> None:
    error = OSError(
        "Max retries exceeded with url: /?AWSAccessKeyId=AKIA&Signature=abc (Caused by)"
    )
    assert "AKIA" not in explained(error, "ec2", "listing").message


def test_a_place_without_what_is_made_there() -> None:
    wanted = order({"provider": "EC2", "name": "web1", "size": "s", "image": "i"})
    assert type(wanted.place) is CloudPlace and wanted.place.provider == "ec2"
