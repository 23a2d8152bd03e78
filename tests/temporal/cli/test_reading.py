"""Spec files: whatever stands in one, the answer is a spec or a SpecError that points at it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from temporal.shared.errors import SpecError
from temporal.shared.specs import reading
from temporal.shared.specs.automation import HostSpec, ServerSpec

TREE = """\
host: local
resources:
  - package: nginx
  - file: /a
    content: x
"""
words = st.sampled_from(
    [
        "host",
        "local",
        "resources",
        "package",
        "file",
        "content",
        "mode",
        "nginx",
        "lab:a",
        "/a",
        "x",
    ]
)
TOKENS = """\
: |:|- |[|]|{|}|,|'|"|&a |*a|<<: |? |>|#|%|\t|\0|\x85|0644|1e999|.nan|~|2026-11-22
!!python/object:os.system |!!int |!x |!!binary |!!timestamp |!!set |!!omap |!!float |!!pairs """
marks = st.sampled_from(TOKENS.replace("\n", "|").split("|")) | st.sampled_from(
    ["\n", "\n  ", "\n  - ", "|\n", "---\n", "...\n"]
)


@settings(max_examples=400)
@given(st.lists(words | marks | st.text(max_size=3), max_size=25).map("".join))
def test_any_text_is_a_spec_or_a_spec_error(text: str) -> None:
    for model in (ServerSpec, HostSpec, dict[str, int], list[str]):
        try:
            reading.parse(text, model, "it.yml")
        except SpecError as error:
            assert str(error).startswith("it.yml"), str(error)


def test_the_only_item_that_does_not_fit_is_one_finding() -> None:
    text = "host: a\nresources:\n  - user: ann\n    colour: red\n"
    with pytest.raises(SpecError) as refused:
        reading.parse(text, ServerSpec, "it.yml")
    assert str(refused.value) == "it.yml:4: resources[0].colour: there is no such field"


@settings(max_examples=100)
@given(st.text())
def test_any_text_at_all(text: str) -> None:
    try:
        reading.plain(text, "it.yml")
    except SpecError as error:
        assert str(error).startswith("it.yml")


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_file(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("spec") / "it.yml"
    path.write_bytes(data)
    try:
        reading.read(path, ServerSpec)
    except SpecError as error:
        assert str(error).startswith(str(path))


@pytest.mark.parametrize(
    ("loc", "where"),
    [
        (("host",), (1, "host")),
        (("resources",), (2, "resources")),
        (("resources", 0), (3, "resources[0]")),
        (("resources", 0, "package"), (3, "resources[0].package")),
        (("resources", 1, "File", "content"), (5, "resources[1].content")),
        (("resources", 1, "File", "owner"), (4, "resources[1].owner")),
        (("resources", 1, "function-after[x(), File]", "mode"), (4, "resources[1].mode")),
        (("resources", 7), (2, "resources")),
        (("missing",), (1, "missing")),
        ((), (1, "")),
    ],
)
def test_locate(loc: tuple[int | str, ...], where: tuple[int, str]) -> None:
    assert reading._locate(yaml.compose(TREE), loc) == where


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("host: local\nhost: x\n", "it.yml:2: host: stands twice, first in line 1"),
        (TREE.replace("package: nginx", "pakage: nginx"), "it.yml:3: resources[0]"),
        (TREE.replace("  - package: nginx\n", "  - 7\n"), "it.yml:3: resources[0]"),
        ("host: {port: 99999, address: a}\nresources: [{package: a}]", "it.yml:1: host.port: "),
        ("host: local\nresources: []", "it.yml:2: resources: "),
        ("- a", "it.yml:1: the spec: "),
        ("host: !!python/object:os.system x", "it.yml:1:7: "),
        ("host: &a [*a]", "it.yml:1: holds itself"),
        ("host: !!int x", "it.yml: holds a value that does not fit its tag"),
        ("host: \0", "it.yml: is not YAML"),
        ("a: " + "[" * 3000, "it.yml: is nested too deeply"),
        ("host: local\n---\nhost: local", "it.yml"),
    ],
)
def test_what_is_wrong_and_where(text: str, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        reading.parse(text, ServerSpec, "it.yml")
    assert str(caught.value).startswith(told)


def test_billions_of_laughs_end_at_once() -> None:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 30)]
    text = "l0: &l0 [x]\n" + "\n".join(levels) + "\nresources: *l29\nhost: *l29"
    with pytest.raises(SpecError, match="once its aliases are followed"):
        reading.parse(text, ServerSpec, "it.yml")


def test_a_file_over_the_limit(tmp_path: Path) -> None:
    big = tmp_path / "big.yml"
    big.write_text("a" * (reading._MAX_BYTES + 1))
    with pytest.raises(SpecError, match=r"big\.yml: over"):
        reading.read(big, ServerSpec)
