"""The contest's values: what is asked of each contestant, and what its figures come to."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from benchmarks.converge import contest, peers, results, show, site, wire
from benchmarks.converge.results import CHANGE, FIRST, NONE, Sheet
from benchmarks.page import into
from converge.graph import arrange


def sheet(hosts: int = 48, rtt: float = 0.0, **seconds: float) -> Sheet:
    made = Sheet(hosts, rtt, "2026-01-01", 0.1, memory=200.0)
    for who, value in seconds.items():
        made.add(who.replace("_", "-"), NONE).seconds += [value * 9, value, value / 9]
    return made


def test_everybody_is_asked_for_the_same() -> None:
    assert site.count() >= 20
    wanted = wire.wanted(site.resources("v"))
    assert len(arrange(wanted).resources) == site.count()
    deploy = site.deploy("v")
    ast.parse(deploy)
    (play,) = site.playbook("v")
    book = json.dumps(play)
    for text in site.files("v"):
        assert repr(text.path) in deploy and json.dumps(text.path) in book
        assert text.path in site.look()
        assert "{{" not in text.content and "{%" not in text.content, "Ansible would template it"
    for name in (*site.PACKAGES, *site.SERVICES, *(one.name for one in site.ACCOUNTS)):
        assert repr(name) in deploy and json.dumps(name) in book and name in site.look()


def test_a_change_changes_one_file() -> None:
    before, after = site.files("one"), site.files("two")
    assert [a.path for a, b in zip(before, after, strict=True) if a != b] == [before[0].path]
    assert site.deploy("one") != site.deploy("two")
    assert site.playbook("one") != site.playbook("two")


def test_peers_are_tuned_and_pinned() -> None:
    text = peers.ansible_settings(Path("/x"), 48)
    for wanted in ("forks = 48", "pipelining = True", "gathering = explicit", "ControlPersist"):
        assert wanted in text
    lines = peers.REQUIREMENTS.read_text().splitlines()
    pinned = [line for line in lines if line and line[0] not in " #"]
    assert pinned and all("==" in line and line.endswith("\\") for line in pinned)
    assert "://" not in peers.REQUIREMENTS.read_text()


def test_medians_ratios_and_bounds() -> None:
    fast = sheet(temporal_ops=2.0, converge=1.9, pyinfra=32.0, ansible=90.0, limit=1.0)
    assert fast.ratio("pyinfra", "temporal-ops", NONE) == 16.0
    assert fast.ratio("pyinfra", "temporal-ops", FIRST) is None
    assert [line for line in results.verdicts(fast) if "MISSED" not in line] == (
        results.verdicts(fast)
    )
    slow = sheet(temporal_ops=2.2, converge=2.1, pyinfra=32.0, ansible=85.0, limit=1.0)
    slow.memory = 301
    assert [line.split(",")[0] for line in results.verdicts(slow) if "MISSED" in line] == [
        "no change",
        "no change",
        "no change",
        "worker's memory 301 MiB (under 300): MISSED",
    ]
    # A bound is for the hosts and the link it was set for.
    assert not results.verdicts(sheet(hosts=10, rtt=0.05, temporal_ops=9.0, pyinfra=1.0))


def test_new_sheets_take_the_place_of_their_like() -> None:
    old, other, new = sheet(hosts=1), sheet(hosts=48, rtt=0.05), sheet(hosts=1, pyinfra=1.0)
    assert results.merged([old, other], [new]) == [new, other]
    again = [Sheet.of(json.loads(json.dumps(asdict_(one)))) for one in (new, other)]
    assert again == [new, other]


def test_more_turns_join_those_of_before() -> None:
    old, new = sheet(pyinfra=2.0, limit=1.0), sheet(pyinfra=3.0, converge=1.0)
    old.date, new.date, old.memory = "yesterday", "today", 300.0
    (found,) = results.merged([old], [new], more=True)
    assert (found.date, found.memory) == ("today", 300.0)
    cells = {cell.who: (len(cell.seconds), cell.date) for cell in found.cells}
    assert cells == {
        "limit": (3, "yesterday"),
        "pyinfra": (6, "yesterday and today"),
        "converge": (3, ""),
    }


def test_a_phase_measured_anew_leaves_the_others_with_their_date() -> None:
    old, new = sheet(hosts=1, temporal_ops=1.0), sheet(hosts=1, pyinfra=1.0)
    old.date, new.date = "yesterday", "today"
    old.memory, new.memory = 120.0, 90.0
    for cell in new.cells:
        cell.phase = results.FIRST
    (found,) = results.merged([old], [new])
    assert (found.date, found.memory) == ("today", 120.0)
    (kept,) = [cell for cell in found.cells if cell.phase == results.NONE]
    assert (kept.who, kept.date) == ("temporal-ops", "yesterday")
    assert "Measured yesterday: no change." in show.markdown([found], [], "x.png")


def asdict_(one: Sheet) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(one)


def test_servers_that_differ_make_it_void() -> None:
    contest.alike({"a": ["x\ny", "x\ny"], "b": ["x\ny"]})
    with pytest.raises(contest.Void, match=r"(?s)b's server 2 is not like a's.*'y'.*'z'"):
        contest.alike({"a": ["x\ny"], "b": ["x\ny", "x\nz"]})


def test_the_page_keeps_what_others_wrote(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "benchmarks.md"
    made = sheet(temporal_ops=2.0, limit=1.0)
    made.add("temporal-ops", NONE).cpu_here += [4.8] * 3
    made.add("temporal-ops", NONE).cpu_servers += [9.6] * 3
    for hosts in (48, 1):
        made.hosts = hosts
        section = show.markdown([made], ["How."], "bench/converge.png")
        into(page, "converge", section)
        if hosts == 48:
            page.write_text(page.read_text() + "\n## other\n\nText.\n")
    text = page.read_text()
    assert text.count("## converge") == 1 and "### 1 host, 0 ms" in text and "48" not in text
    assert text.startswith("# Benchmarks\n") and text.endswith("## other\n\nText.\n")
    assert "| temporal-ops, command with a worker |  |  | 2.00 (3) | 4.800 | 9.600 |" in text


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    made = sheet(temporal_ops=2.0, pyinfra=32.0)
    made.add("pyinfra", CHANGE).seconds.append(40.0)
    show.draw([made, sheet(hosts=1, converge=0.3)], "a machine", tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
