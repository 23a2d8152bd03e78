"""`temporal-ops provision` as a program, against a real server and worker, on this machine as host."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from temporal.cli.provision import coloured
from temporal.shared.errors import SpecError
from temporal.shared.specs.automation import ServerSpec
from temporal.shared.specs.reading import read
from tests.temporal.cli.support import Shell

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="provisions this machine, as root does")


def spec(ops: Shell, *resources: str, host: str = "local", name: str = "spec.yml") -> str:
    path = ops.folder / name
    body = "".join(f"  - {resource}\n" for resource in resources)
    path.write_text(f"host: {host}\nresources:\n{body}")
    return str(path)


def motd(ops: Shell, content: str = "hello\\n") -> str:
    return spec(ops, f"file: {ops.folder}/motd\n    content: \"{content}\"\n    mode: '0640'")


def test_plan_apply_plan(ops: Shell) -> None:
    file, target = motd(ops), ops.folder / "motd"
    first = ops("provision", "plan", file, "--detailed-exitcode")
    assert first.status == 2, first.err
    assert f"  + file {target}" in first.out and "      +hello" in first.out
    assert "Plan: 1 to create, 0 to change, 0 to remove, 0 unchanged." in first.out
    assert not target.exists(), "a plan changes nothing"
    assert ops("provision", "plan", file).status == 0
    done = ops("provision", "apply", file, "--yes")
    assert done.status == 0, done.err
    assert "local: 1 changed" in done.out and target.read_text() == "hello\n"
    again = ops("provision", "plan", file, "--detailed-exitcode")
    assert (again.status, again.out.splitlines()[-1]) == (
        0, "No changes. 1 resources are as declared.",
    )  # fmt: skip
    motd(ops, "changed\\n")
    drift = ops("provision", "plan", file, "--detailed-exitcode", "--json")
    (server,) = drift.json["servers"]
    assert drift.status == 2 and drift.json["drift"] is True
    assert [change["action"] for change in server["changes"]] == ["update"]
    assert "-hello\n+changed\n" in server["changes"][0]["diff"] and len(server["digest"]) == 64
    same = ops("provision", "plan", file, "--json").json["servers"][0]["digest"]
    assert same == server["digest"]


def test_several_hosts_of_an_inventory(ops: Shell) -> None:
    (ops.folder / "hosts").write_text(
        "[web]\none ansible_connection=local word=first\ntwo ansible_connection=local word=second\n"
        "[down]\nthree ansible_host=127.0.0.1 ansible_port=1\n"
    )
    (ops.folder / "word.j2").write_text("{{ word }} {{ site }} {{ inventory_hostname }}\n")
    path = ops.folder / "spec.yml"
    path.write_text(
        "variables: {site: north, word: none}\nresources:\n"
        f"  - file: {ops.folder}/word\n    template: word.j2\n"
    )
    args = ("--inventory", str(ops.folder / "hosts"))
    both = ops("provision", "plan", str(path), *args, "--limit", "web", "--json")
    assert both.status == 0, both.err
    diffs = {one["host"]: one["changes"][0]["diff"] for one in both.json["servers"]}
    assert "+first north one\n" in diffs["one"] and "+second north two\n" in diffs["two"]
    shown = ops("provision", "plan", str(path), *args, "--limit", "web", "--detailed-exitcode")
    assert shown.status == 2 and "2 servers differ, 0 are as declared" in shown.out
    wrong = ops("provision", "plan", str(path), *args, "--limit", "wev", "--detailed-exitcode")
    assert wrong.status == 1 and "did you mean web" in wrong.err
    assert ops("provision", "plan", str(path), *args, "--limit", "wev").status == 2


def test_a_host_given_twice_is_refused(ops: Shell) -> None:
    twice = ops("provision", "plan", motd(ops), "--host", "local", "--host", "local")
    assert twice.status == 2 and "--host local stands there twice" in twice.err


def test_a_host_that_cannot_be_looked_at(ops: Shell) -> None:
    file = spec(ops, "package: nginx", host="nobody@lab-of-no-such-name.invalid")
    done = ops("provision", "plan", file, "--json")
    assert done.status == 1
    (server,) = done.json["servers"]
    assert "does not resolve" in server["failure"] and "lab-of-no-such-name" in server["failure"]


def test_apply_asks_where_somebody_can_answer(ops: Shell) -> None:
    done = ops("provision", "apply", motd(ops))
    assert done.status == 2 and "--yes" in done.err
    assert not (ops.folder / "motd").exists()


def test_secrets_are_in_no_plan(ops: Shell) -> None:
    (ops.folder / "secret").write_text("tr0ub4dor-and-3")
    (ops.folder / "key").write_text("an older secret")
    file = spec(ops, f"file: {ops.folder}/key\n    secret: file://{ops.folder}/secret")
    for more in ((), ("--json",)):
        done = ops("provision", "plan", file, *more)
        assert done.status == 0 and "(sensitive)" in done.out, done.err
        assert "tr0ub4dor" not in done.out + done.err
        assert "an older secret" not in done.out + done.err


def test_specs_that_are_wrong(ops: Shell) -> None:
    (ops.folder / "roles").mkdir()
    (ops.folder / "roles" / "own.yml").write_text(
        "parameters: {size: integer}\nresources:\n  - file: /x\n    contens: y\n"
    )
    for resources, said in (
        (["package: x1", "role: ngnix"], "spec.yml:4: resources[1].role: there is no such role"),
        (["role: nginx\n    with:\n      sits: []"], "spec.yml:5: resources[0].with.sits: "),
        (["role: own\n    with: {size: big}"], "spec.yml:4: resources[0].with.size: "),
        (["role: own\n    with: {size: 1}"], "own.yml:4: contens: there is no such field"),
        # After a role has become many, what follows still is where it stands.
        (["role: baseline", "pakage: nginx"], "spec.yml:4: resources[1]: names no resource type"),
        (["role: baseline", "file: /x\n    mode: 644"], "spec.yml:5: resources[1].mode: "),
        (["file: /x\n    source: none-such"], "spec.yml:3: resources[0]: "),
        (["file: /x\n    source: ../../etc/passwd"], "spec.yml:4: resources[0].source: "),
    ):
        done = ops("provision", "plan", spec(ops, *resources))
        assert done.status == 2 and said in done.err, done.err
    usage = ops("provision", "plan", spec(ops, "package: nginx"), "--limit", "web")
    assert usage.status == 2 and "--inventory" in usage.err


def test_what_a_spec_takes_travels_with_it(tmp_path: Path) -> None:
    """The run has all it needs: roles are resources, files are in it."""
    (tmp_path / "part.j2").write_text("part of {{ who }}")
    (tmp_path / "whole.j2").write_text("{% include 'part.j2' %}!\n")
    path = tmp_path / "spec.yml"
    path.write_text(
        "host: local\nvariables: {who: us}\nresources:\n  - role: nginx\n"
        "  - file: /etc/whole\n    template: whole.j2\n"
    )
    found = read(path, ServerSpec)
    assert sorted(found.material) == ["part.j2", "whole.j2"]
    assert "package:nginx" in [resource.id for resource in found.resources]
    again = ServerSpec.model_validate_json(found.model_dump_json())
    assert again == found
    (tmp_path / "part.j2").write_text("x" * 32_000_001)
    with pytest.raises(SpecError, match=r"spec.yml:5: .*over 32000000 bytes"):
        read(path, ServerSpec)


def test_an_approved_plan_is_held_to(ops: Shell) -> None:
    """Somebody saw a plan; the host moved on; nothing is done."""
    file, target = motd(ops), ops.folder / "motd"
    planned = ops("provision", "plan", file, "--json").json["servers"][0]
    planned.pop("summary")
    given = json.loads(read(Path(file), ServerSpec).model_dump_json())
    given["approved"] = planned
    target.write_text("somebody else's\n")
    done = ops("run", "ProvisionServer", "--input", json.dumps(given), "--json")
    assert done.status == 1 and "no longer looks as it did" in done.json["failure"], done.out
    assert target.read_text() == "somebody else's\n"
    target.unlink()
    assert ops("run", "ProvisionServer", "--input", json.dumps(given)).status == 0
    assert target.read_text() == "hello\n"


def test_colours_follow_the_marks() -> None:
    text = "web1\n  + file /x\n      mode: 0644\n      -old\n      +new\n  - user a\n\nNo changes."
    assert [str(line.style) for line in coloured(text)] == [
        "bold", "green", "", "red", "green", "red", "", "bold",
    ]  # fmt: skip
