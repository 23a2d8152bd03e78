"""Patching as values: what a file becomes, and what a host says."""

from __future__ import annotations

from pathlib import Path

import pytest

from converge.framing import Record
from temporal.activities.automation.patch_sh import changes, failure, patch_script, said, told
from temporal.shared.errors import SpecError
from temporal.shared.specs.automation.patching import Patch, PatchSpec
from temporal.shared.specs.reading import read


def from_file(folder: Path, text: str) -> PatchSpec:
    path = folder / "patch.yml"
    path.write_text(text)
    found = read(path, PatchSpec)
    assert isinstance(found, PatchSpec)
    return found


def test_one_at_a_time_unless_told_otherwise(tmp_path: Path) -> None:
    spec = from_file(tmp_path, "hosts: [a, b, c]\nrollout: {max_failures: 1}\n")
    assert spec.rollout.parallel == 1
    assert spec.rollout.waves(3) == [(0, 1), (1, 2), (2, 3)]
    spec = from_file(tmp_path, "hosts: [a, b, c]\nrollout: {wave: 2, parallel: 2}\n")
    assert spec.rollout.waves(3) == [(0, 1), (1, 3)] and spec.rollout.parallel == 2
    assert spec.patch == Patch()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("upgrade: none\nreboot: never\n", "leave nothing to do"),
        ("upgrade: everything\n", "upgrade"),
        ("exclude: ['a b']\n", "exclude"),
        ('exclude: ["a\\nPin: x"]\n', "exclude"),
        ("services: [-x]\n", "services"),
        ("reboot_within: 0\n", "reboot_within"),
        ("before: ''\n", "before"),
        ("answers: [{http: health}]\n", "must be a path"),
        ("reboot: sometimes\n", "reboot"),
        ("rollout: {approve: plan}\n", "only approve: canary"),
    ],
)
def test_refused_before_anything_starts(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(SpecError, match=why):
        from_file(tmp_path, f"hosts: [a]\n{text}")


def test_words_of_yaml(tmp_path: Path) -> None:
    assert from_file(tmp_path, "hosts: [a]\nupgrade: none\n").upgrade == "none"
    assert from_file(tmp_path, "hosts: [a]\nupgrade: ~\n").upgrade == "none"


def test_versions_as_people_read_them() -> None:
    text = "libc6:amd64 2.36-9 2.36-10\nlinux-image-6.1.0-22 - 6.1.94-1\nold 1 -\nodd line\n"
    assert changes(text) == [
        "libc6:amd64 2.36-9 -> 2.36-10",
        "linux-image-6.1.0-22 new: 6.1.94-1",
        "old 1 -> removed",
    ]


def record(words: str, body: str = "") -> Record:
    return Record("nonce", tuple(words.split()), body.encode())


def test_what_a_host_says() -> None:
    records = [record("health active a b"), record("due", "a new kernel\n"), record("end ok")]
    assert told(records, "health", "active") == ("a", "b") and told(records, "boot") == ()
    assert said(records, "due") == "a new kernel" and said(records, "failed") is None
    assert failure(records) is None
    assert failure([record("well"), record("failed", "no\n")]) == "no"
    assert failure([record("end ok")]) == "the script on the host ended before its end"


def test_what_a_person_writes_is_quoted() -> None:
    script = patch_script(Patch(before="echo 'it''s'; exit", exclude=("linux-*",)))
    assert "before='echo '\\''it'\\'''\\''s'\\''; exit'" in script
    assert "Package: linux-*\nPin: release *\nPin-Priority: -1" in script
