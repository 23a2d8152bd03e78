"""Our own inventory format: groups, variables, who wins, and how hosts are reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from converge.inventory import Inventory, InventoryError, read_inventory

OURS = """\
variables: {env: prod, size: 1}
connection: {user: admin, sudo: true}
hosts:
  lone.example.org:
groups:
  servers:
    groups: [web, db]
    variables: {size: 2, role: none}
  web:
    hosts: ["web[01:03].example.org"]
    variables: {role: web}
    connection: {key: ~/.ssh/web, jump: "ann@bastion:2222", concurrency: 3}
  db:
    hosts:
      db1:
        address: 10.0.0.5
        port: 2200
        user: postgres
        variables: {size: 9}
"""


def written(folder: Path, text: str = OURS, name: str = "inventory.yml") -> Inventory:
    path = folder / name
    path.write_text(text)
    return read_inventory(path)


def test_variables_and_connections(tmp_path: Path) -> None:
    found = written(tmp_path).entries
    assert list(found) == ["lone.example.org", *(f"web0{n}.example.org" for n in (1, 2, 3)), "db1"]
    lone, web, db = found["lone.example.org"], found["web02.example.org"], found["db1"]
    assert lone.variables["size"] == 1 and lone.groups == ("ungrouped",)
    assert (web.variables["size"], web.variables["role"]) == (2, "web")
    assert (db.variables["size"], db.variables["role"], db.variables["env"]) == (9, "none", "prod")
    assert web.groups == ("servers", "web")
    host = web.host
    assert (host.address, host.user, host.sudo) == ("web02.example.org", "admin", True)
    assert (host.jump, host.concurrency, host.port) == ("ann@bastion:2222", 3, None)
    assert (db.host.address, db.host.port, db.host.user) == ("10.0.0.5", 2200, "postgres")


def test_variables_beside_win_over_those_of_the_file(tmp_path: Path) -> None:
    for name, text in {
        "group_vars/all.yml": "env: from-all\nsize: 3\n",
        "group_vars/web/one.yml": "role: beside\n",
        "host_vars/db1.yaml": "size: 10\n",
        "group_vars/of_another.yml": "env: other\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = written(tmp_path).entries
    # group_vars/all wins over a group's variables in the file, as in Ansible.
    assert found["web01.example.org"].variables["size"] == 3
    assert found["web01.example.org"].variables["role"] == "beside"
    assert found["db1"].variables["size"] == 10
    assert found["lone.example.org"].variables["env"] == "from-all"


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        (None, "lone web01 web02 web03 db1"),
        ("all", "lone web01 web02 web03 db1"),
        ("web", "web01 web02 web03"),
        ("servers,!db", "web01 web02 web03"),
        ("web*", "web01 web02 web03"),
        ("servers,&db", "db1"),
        ("!web", "lone db1"),
        ("db,web03*", "web03 db1"),
        ("~web0[12]", "web01 web02"),
        ("all,!web0[!1]*", "lone web01 db1"),
    ],
)
def test_selection(tmp_path: Path, pattern: str | None, names: str) -> None:
    chosen = written(tmp_path).select(pattern)
    assert [entry.name.partition(".")[0] for entry in chosen] == names.split()


def test_selection_of_nothing_is_an_error(tmp_path: Path) -> None:
    found = written(tmp_path)
    with pytest.raises(InventoryError, match="no host or group is called wev; did you mean web"):
        found.select("wev")
    with pytest.raises(InventoryError, match="no host fits 'web,&db'"):
        found.select("web,&db")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hosts: {a: {adress: x}}\n", r":1: adress: a host has address"),
        ("hosts:\n  a:\n    port: many\n", r":3: port: must be int, and is 'many'"),
        ("groups:\n  web:\n    host: [a]\n", r":3: host: a group has hosts"),
        ("groups:\n  web:\n    groups: [db]\n", r":3: group web holds db, which is no group"),
        ("hosts:\n  - web[5:1]\n", r":2: .*holds nothing"),
        ("hosts:\n  a:\n  a:\n", r":3: a: stands twice, first in line 2"),
        ("connection:\n  shell: x\n", r":2: shell: a connection has"),
        ("hosts: 3\n", r":1: hosts: must be a mapping"),
        ("groups:\n  a: {groups: [b]}\n  b: {groups: [a]}\n", r":2: groups in a circle: a > b > a"),
        ("hosts:\n  a: !vault |\n    $ANSIBLE_VAULT;1.1\n", r":2: .*ansible-vault"),
        ("hosts:\n  a: !!python/object:os.system x\n", r":2: holds .*only plain YAML"),
        ("hosts: [\n", r"is not YAML"),
    ],
)
def test_errors_name_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InventoryError, match=said) as error:
        written(tmp_path, text)
    assert str(tmp_path / "inventory.yml") in str(error.value)


def test_a_value_that_no_host_takes(tmp_path: Path) -> None:
    entry = written(tmp_path, "hosts:\n  a: {port: 70000}\n").entries["a"]
    with pytest.raises(InventoryError, match=r"inventory.yml:2: a: port: .*65535"):
        _ = entry.host
