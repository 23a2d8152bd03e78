"""One spec, and hosts that are to be like different things by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from converge import File
from temporal.shared.errors import SpecError
from temporal.shared.specs.automation import ServerSpec
from temporal.shared.specs.automation.provisioning import FleetSpec
from temporal.shared.specs.automation.rollout import Rollout
from temporal.shared.specs.automation.varying import as_fleet, varied
from temporal.shared.specs.reading import read

ROLE = """\
parameters: {place: string}
resources:
  - file: "{{ place }}"
    content: "{{ vars.word }}"
"""
INVENTORY = "[web]\nweb1 word=one\nweb2 word=two\nweb3 word=one\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "roles").mkdir()
    (tmp_path / "roles" / "own.yml").write_text(ROLE)
    (tmp_path / "hosts.ini").write_text(INVENTORY)
    (tmp_path / "word.j2").write_text("{{ inventory_hostname }} {{ site }}\n")
    return tmp_path


def content(fleet: FleetSpec, place: int) -> str:
    (member,) = fleet.picked([place])
    wanted = fleet.shapes[member.variant].at(member)
    assert wanted == fleet.shape.at(member)
    (file,) = wanted.resources[:1]
    assert isinstance(file, File)
    return str(file.content)


def test_the_different_ones_are_kept_once() -> None:
    assert varied([["a"], ["b"], ["a"], ["b", "c"]]) == ([["a"], ["b"], ["b", "c"]], [0, 1, 0, 2])


def test_roles_in_a_fleet_take_the_variables_of_each_host(folder: Path) -> None:
    path = folder / "fleet.yml"
    path.write_text("inventory: hosts.ini\nresources:\n  - role: own\n    with: {place: /w}\n")
    fleet = read(path, FleetSpec)
    assert len(fleet.variants) == 1, "two words, however many hosts"
    assert [content(fleet, place) for place in range(3)] == ["one", "two", "one"]
    assert FleetSpec.model_validate_json(fleet.model_dump_json()) == fleet


def test_what_a_host_lacks_is_told_before_anything_starts(folder: Path) -> None:
    (folder / "hosts.ini").write_text("[web]\nweb1 word=one\nweb2\n")
    path = folder / "fleet.yml"
    path.write_text("inventory: hosts.ini\nresources:\n  - role: own\n    with: {place: /w}\n")
    with pytest.raises(SpecError, match=r"fleet.yml:3: .*word"):
        read(path, FleetSpec)


def test_templates_in_a_fleet_take_them_too(folder: Path) -> None:
    path = folder / "fleet.yml"
    path.write_text(
        "inventory: hosts.ini\nvariables: {site: north}\n"
        "resources:\n  - file: /w\n    template: word.j2\n"
    )
    fleet = read(path, FleetSpec)
    assert not fleet.variants and list(fleet.material) == ["word.j2"]


def test_servers_of_one_spec_are_a_fleet(folder: Path) -> None:
    path = folder / "spec.yml"
    path.write_text(
        "host: local\nvariables: {site: north}\nresources:\n  - role: own\n    with: {place: /w}\n"
    )
    specs = [
        read(path, ServerSpec, {"host": name}, {"variables": {"word": word}})
        for name, word in (("a", "one"), ("b", "two"), ("c", "two"))
    ]
    fleet = as_fleet(specs, Rollout(canary="0"))
    assert fleet.variables == {"site": "north"} and fleet.total == 3 and len(fleet.variants) == 1
    assert [content(fleet, place) for place in range(3)] == ["one", "two", "two"]
    for spec, member in zip(specs, fleet.members(0, 3), strict=True):
        wanted = fleet.shape.at(member)
        assert (wanted.host, wanted.resources) == (spec.host, spec.resources)
        assert wanted.variables == spec.variables


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("{approve: nobody}", "fleet.yml:2: rollout: .*'plan' or 'canary'"),
        ("{approve: canary, canary: 0}", "fleet.yml:2: rollout: approve: canary needs a canary"),
        ("{approve: [plan, canary], canary: 0%}", "needs a canary"),
    ],
)
def test_an_approval_that_cannot_be(folder: Path, said: str, why: str) -> None:
    path = folder / "fleet.yml"
    path.write_text(f"hosts: [a]\nrollout: {said}\nresources:\n  - package: nginx\n")
    with pytest.raises(SpecError, match=why):
        read(path, FleetSpec)
