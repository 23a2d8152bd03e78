"""Fleets as values: waves, shares, and what a spec file becomes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from temporal.shared.errors import SpecError
from temporal.shared.specs.automation.fleet import PAGE
from temporal.shared.specs.automation.outcome import FleetReport, FleetState, HostOutcome
from temporal.shared.specs.automation.provisioning import FleetSpec
from temporal.shared.specs.automation.rollout import Rollout, share_of
from temporal.shared.specs.reading import read

FILE = "resources:\n  - file: /etc/motd\n    content: hello\n"


@pytest.mark.parametrize(
    ("share", "total", "hosts"),
    [("3", 10, 3), ("30", 10, 10), ("25%", 10, 3), ("0%", 10, 0), ("100%", 7, 7), ("0", 5, 0)],
)
def test_a_share_is_rounded_up_and_never_more_than_all(share: str, total: int, hosts: int) -> None:
    assert share_of(share, total) == hosts


@given(
    st.integers(1, 3000),
    st.one_of(st.integers(0, 50).map(str), st.integers(0, 100).map(lambda n: f"{n}%")),
    st.one_of(st.integers(1, 50).map(str), st.integers(1, 100).map(lambda n: f"{n}%")),
)
def test_waves_hold_each_host_once(total: int, canary: str, wave: str) -> None:
    waves = Rollout(canary=canary, wave=wave).waves(total)
    assert [host for a, b in waves for host in range(a, b)] == list(range(total))


def test_ten_thousand_hosts_are_pages() -> None:
    members = [{"host": f"10.{n >> 8}.{n & 255}.1"} for n in range(10_000)]
    value = FleetSpec.of({"resources": [{"file": "/etc/motd", "content": "x"}]}, members)
    fleet = FleetSpec.model_validate(value)
    assert fleet.total == 10_000 and len(fleet.pages) == 10_000 // PAGE
    for start, stop in ((0, 1), (499, 502), (9_990, 10_000), (0, 10_000)):
        found = [member.host.address for member in fleet.members(start, stop)]
        assert found == [f"10.{n >> 8}.{n & 255}.1" for n in range(start, stop)]
    assert len(fleet.model_dump_json()) < 500_000


def test_who_goes_on_hands_on_what_is_still_to_come() -> None:
    members = [{"host": f"h{n}"} for n in range(3 * PAGE)]
    value = FleetSpec.of({"resources": [{"file": "/etc/motd", "content": "x"}]}, members)
    fleet = FleetSpec.model_validate(value)
    for begun in (0, PAGE - 1, PAGE, 2 * PAGE + 1):
        state = fleet.state.model_copy(update={"next": begun})
        left = fleet.going_on(state, whole=False)
        assert list(left.members(begun, 3 * PAGE)) == list(fleet.members(begun, 3 * PAGE))
        assert left.pages[: begun // PAGE] == ("[]",) * (begun // PAGE)
        assert (left.total, left.state.next) == (3 * PAGE, begun)
        assert fleet.going_on(state).pages == fleet.pages


def test_a_hundred_long_failures_stay_far_from_the_limit_of_a_payload() -> None:
    state = FleetState()
    for number in range(150):
        why = HostOutcome(host=f"h{number}", ending="unreachable", because="\u4e16" * 100_000)
        state = state.with_outcome(why)
    assert state.failed == 150 and len(state.failures) == 100
    assert len(state.model_dump_json().encode()) < 1_000_000


def spec(folder: Path, text: str) -> Path:
    path = folder / "fleet.yml"
    path.write_text(text)
    return path


def test_a_file_with_hosts_and_one_with_an_inventory(tmp_path: Path) -> None:
    fleet = read(spec(tmp_path, f"hosts: [a, root@b:22]\n{FILE}"), FleetSpec)
    assert [m.host.name for m in fleet.members(0, 2)] == ["a", "b"]
    assert fleet.rollout == Rollout()
    (tmp_path / "hosts.ini").write_text("[web]\nweb1\nweb2 motd=two\n[db]\ndb1\n")
    text = (
        f"inventory: hosts.ini\nlimit: web\nvariables: {{motd: one}}\n{FILE}rollout: {{wave: 2}}\n"
    )
    fleet = read(spec(tmp_path, text), FleetSpec)
    members = list(fleet.members(0, 2))
    assert [m.host.name for m in members] == ["web1", "web2"] and fleet.rollout.wave == "2"
    assert fleet.shape.at(members[1]).variables["motd"] == "two"
    assert fleet.shape.at(members[0]).variables["motd"] == "one"


def test_one_address_with_several_ports_is_several_hosts_with_names_of_their_own(
    tmp_path: Path,
) -> None:
    fleet = read(spec(tmp_path, f"hosts: [a, 'a:23', b]\n{FILE}"), FleetSpec)
    assert [m.host.name for m in fleet.members(0, 3)] == ["a:22", "a:23", "b"]


def test_a_secret_typed_where_its_reference_belongs_is_refused_and_not_shown(
    tmp_path: Path,
) -> None:
    key = "resources:\n  - file: /etc/key\n    secret: hunter2hunter2\n"
    with pytest.raises(SpecError, match="file:/etc/key: a secret of it") as refused:
        read(spec(tmp_path, f"hosts: [a]\n{key}"), FleetSpec)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("", "give exactly one of hosts and inventory"),
        ("hosts: []\n", "fleet.yml:1: hosts: must be a list of hosts"),
        ("hosts: [a, root@a]\n", "fleet.yml:1: hosts: the same host stands there twice: a"),
        ("hosts: [lab:a, lab:a]\n", "hosts: the same host stands there twice: a .a.$"),
        ("hosts: [a, {adress: b}]\n", r"fleet.yml:1: hosts\[1\].adress: there is no such field"),
        ("hosts: [a]\nrollout: {wave: 0}\n", "fleet.yml:2: rollout.wave: a wave of no hosts"),
        ("hosts: [a]\nrollout: {canary: 200%}\n", "canary: must be a number of hosts or a share"),
        (
            "hosts: [a]\nrollout: {canery: 1}\n",
            r"canery: there is no such field; did you mean canary\?",
        ),
        ("hosts: [a]\nanswers: [{http: /, contain: x}]\n", r"contain: .* did you mean contains\?"),
        (
            "hosts: [{address: a, alias: x}, {address: b, alias: x}]\n",
            "fleet.yml:1: hosts: two hosts are called x: give them aliases",
        ),
        ("hosts: [a]\nrollout: {wave: most}\n", "fleet.yml:2: rollout.wave"),
        ("inventory: nowhere.yml\n", "fleet.yml:1: inventory: .*nowhere.yml"),
        ("inventory: hosts.ini\nlimit: nobody\n", "fleet.yml:2: limit: .*nobody"),
        ("hosts: [a]\nresource: []\n", "fleet.yml:2: resource"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, head: str, said: str) -> None:
    (tmp_path / "hosts.ini").write_text("[web]\nweb1\n")
    with pytest.raises(SpecError, match=said):
        read(spec(tmp_path, head + FILE), FleetSpec)


def test_a_typo_is_offered_the_fields_of_its_own_place_and_of_no_other(tmp_path: Path) -> None:
    text = "hosts: [a]\nresources:\n  - file: /etc/motd\n    contnt: x\n"
    with pytest.raises(SpecError, match=r"resources\[0\].contnt: .*; did you mean content\?$"):
        read(spec(tmp_path, text), FleetSpec)


def test_a_report_longer_than_a_screen_ends_with_what_it_says_first() -> None:
    def report(failed: int) -> list[str]:
        state = FleetState()
        for n in range(failed):
            state = state.with_outcome(
                HostOutcome(host=f"h{n}", ending="unreachable", because=f"h{n}: refused")
            )
        return FleetReport(total=100, state=state).render().splitlines()

    assert report(2) == [
        "100 hosts: 2 unreachable, 98 not begun",
        "  ! h0: refused",
        "  ! h1: refused",
    ]
    long = report(50)
    assert long[-1] == long[0] == "100 hosts: 50 unreachable, 50 not begun"
