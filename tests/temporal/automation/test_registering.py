"""Hosts written into an inventory, as values and files; specs of what is made, as they are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.testing import ActivityEnvironment

from converge.inventory import read_inventory
from converge.inventory.connections import settings_of
from temporal.activities.automation.registering import forget_host, register_host
from temporal.shared import Permanent
from temporal.shared.errors import SpecError
from temporal.shared.specs import reading
from temporal.shared.specs.automation import HostSpec, ServerSpec
from temporal.shared.specs.automation.creating import RegisterHost
from temporal.shared.specs.automation.decommissioning import DecommissionSpec

HOST = HostSpec(address="10.0.0.5", alias="web1", user="admin", sudo=True, accept_new_host_key=True)


def request(folder: Path, *groups: str, host: HostSpec | None = HOST) -> RegisterHost:
    return RegisterHost(inventory=str(folder), name="web1", groups=groups, host=host)


def inode(path: Path) -> int:
    return path.stat().st_ino


async def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    there = ActivityEnvironment()
    path = Path(await there.run(register_host, request(tmp_path / "new", "web", "prod")))
    before = inode(path)
    await there.run(register_host, request(tmp_path / "new", "web", "prod"))
    assert inode(path) == before, "the same is not written twice"
    (entry,) = read_inventory(tmp_path / "new").select("web,&prod")
    assert settings_of(entry) == HOST.model_dump(exclude_defaults=True, exclude={"alias"})
    await there.run(register_host, request(tmp_path / "new"))
    assert read_inventory(tmp_path / "new").entries["web1"].groups == ("ungrouped",)
    assert [each.name for each in path.parent.iterdir()] == ["web1.yml"], "nothing else is left"
    assert await there.run(forget_host, request(tmp_path / "new", host=None)) == str(path)
    assert await there.run(forget_host, request(tmp_path / "new", host=None)) is None


async def test_beside_what_other_people_wrote(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("# mine\ngroups: {web: {hosts: [web0]}}\n")
    await ActivityEnvironment().run(register_host, request(tmp_path, "web"))
    assert [each.name for each in read_inventory(tmp_path).select("web")] == ["web0", "web1"]


async def test_what_other_people_wrote_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "web1.yml"
    theirs.write_text("hosts: {web1: {}}\n")
    for act in (register_host, forget_host):
        with pytest.raises(Permanent, match=r"web1.yml was not written by temporal-ops"):
            await ActivityEnvironment().run(act, request(tmp_path))
    assert theirs.read_text() == "hosts: {web1: {}}\n"
    with pytest.raises(Permanent, match="is a file that somebody keeps: name a folder"):
        await ActivityEnvironment().run(register_host, request(theirs))
    with pytest.raises(Permanent, match="absolute"):
        await ActivityEnvironment().run(register_host, request(Path("hosts.d")))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("resources: [{package: nginx}]", "give exactly one of host and create"),
        (
            "host: web1\ncreate: {provider: lab, name: web1}\nresources: [{package: nginx}]",
            "give exactly one of host and create",
        ),
        (
            "create: {provider: lab, name: Web 1}\nresources: [{package: nginx}]",
            "x.yml:1: create.name: must be 1 to 63 of a-z",
        ),
        (
            "create: {provider: ec2, name: web1, image: i}\nresources: [{package: nginx}]",
            "create.size: is missing",
        ),
        (
            "create:\n  provider: lab\n  name: web1\n  siute: trixie\nresources: [{package: nginx}]",
            "x.yml:4: create.siute: there is no such field; did you mean suite",
        ),
        (
            "create:\n  provider: ec2\n  name: w\n  size: s\n  image: i\n"
            "  credentials: {secret: hunter2hunter2}\nresources: [{package: nginx}]",
            "must be a secret reference",
        ),
    ],
)
def test_what_cannot_be_made_is_refused_where_it_stands(text: str, says: str) -> None:
    with pytest.raises(SpecError) as refused:
        reading.parse(text, ServerSpec, "x.yml")
    assert says in str(refused.value) and "hunter2" not in str(refused.value)


def test_a_stranger_is_named_by_its_id() -> None:
    text = "server: {provider: ec2, name: web1, unmarked: true}"
    with pytest.raises(SpecError, match="unmarked needs the id"):
        reading.parse(text, DecommissionSpec, "x.yml")


def test_the_inventory_lies_beside_the_spec(tmp_path: Path) -> None:
    text = (
        "create: {provider: lab, name: web1}\nresources: [{package: nginx}]\n"
        "register_in: {inventory: hosts.d}"
    )
    spec = reading.parse(text, ServerSpec, "x.yml", folder=tmp_path)
    assert spec.register_in and spec.register_in.inventory == str(tmp_path / "hosts.d")
    gone = "server: {provider: lab, name: web1}\nforget: hosts.d"
    away = reading.parse(gone, DecommissionSpec, "x.yml", folder=tmp_path)
    assert away.forget == str(tmp_path / "hosts.d")


def test_a_name_that_no_file_can_bear_is_refused_before_anything_is_done() -> None:
    value = {
        "host": {"address": "10.0.0.1", "alias": "../web1"},
        "resources": [{"file": "/srv/x", "content": "x"}],
        "register_in": {"inventory": "/srv/hosts.d"},
    }
    with pytest.raises(ValueError, match=r"register_in: '../web1' must be 1 to 63 of a-z"):
        ServerSpec.model_validate(value)
