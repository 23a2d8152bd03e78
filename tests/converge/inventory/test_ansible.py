"""Ansible's inventories as they are: INI, YAML, JSON and executables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converge.inventory import InventoryError, read_inventory
from converge.inventory.ranges import expand, split_port

INI = """\
# a comment
mail.example.org ansible_user=root
[web]
web[01:02].example.org:2222 http_port=80 note="two words" # why
jumper ansible_host=192.0.2.50 ansible_port=5555

[db]
db-[a:c].example.org

[all:vars]
env=prod
[web:vars]
proxy = proxy.example.org
flag=true
numbers=[1, 2]

[site:children]
web
db
[site:vars]
ansible_user=deploy
ansible_become=yes
"""
YAML = """\
all:
  vars: {env: prod}
  hosts:
    mail.example.org: {ansible_user: root}
  children:
    site:
      vars: {ansible_user: deploy, ansible_become: true}
      children:
        web:
          vars: {proxy: proxy.example.org, flag: "true", numbers: [1, 2]}
          hosts:
            web[01:02].example.org: {ansible_port: 2222, http_port: 80, note: two words}
            jumper: {ansible_host: 192.0.2.50, ansible_port: 5555}
        db:
          hosts:
            db-[a:c].example.org:
"""
JSON = {
    "_meta": {
        "hostvars": {
            "mail.example.org": {"ansible_user": "root"},
            "jumper": {"ansible_host": "192.0.2.50", "ansible_port": 5555},
            **{
                f"web0{n}.example.org": {"ansible_port": 2222, "http_port": 80, "note": "two words"}
                for n in (1, 2)
            },
        }
    },
    "all": {"children": ["site", "ungrouped"], "vars": {"env": "prod"}},
    "ungrouped": {"hosts": ["mail.example.org"]},
    "site": {"children": ["web", "db"], "vars": {"ansible_user": "deploy", "ansible_become": True}},
    "web": {
        "hosts": ["web01.example.org", "web02.example.org", "jumper"],
        "vars": {"proxy": "proxy.example.org", "flag": "true", "numbers": [1, 2]},
    },
    "db": [f"db-{c}.example.org" for c in "abc"],
}


def program(folder: Path, by_host: bool) -> str:
    """A dynamic inventory, with all variables at once or asked for host by host."""
    value = {k: v for k, v in JSON.items() if k != "_meta"} if by_host else JSON
    (folder / "list.json").write_text(json.dumps(value))
    (folder / "vars.json").write_text(json.dumps(JSON["_meta"]))
    return (
        "#!/usr/bin/env python3\nimport json, sys\n"
        "if sys.argv[1] == '--list':\n    print(open('list.json').read())\n"
        "else:\n    print(json.dumps(json.load(open('vars.json'))['hostvars'].get(sys.argv[2], {})))\n"
    )


@pytest.mark.parametrize("kind", ["ini", "yaml", "json", "program", "program by host"])
def test_the_same_inventory_in_every_form(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "inventory"
    folder.mkdir()
    if kind.startswith("program"):
        path = folder / "hosts"
        path.write_text(program(folder, kind == "program by host"))
        path.chmod(0o755)
    else:
        text = {"ini": INI, "yaml": YAML, "json": json.dumps(JSON)}[kind]
        path = folder / {"ini": "hosts", "yaml": "hosts.yml", "json": "hosts.json"}[kind]
        path.write_text(text)
    found = read_inventory(path)
    assert sorted(found.entries) == [
        "db-a.example.org", "db-b.example.org", "db-c.example.org", "jumper",
        "mail.example.org", "web01.example.org", "web02.example.org",
    ]  # fmt: skip
    mail, web, db = (
        found.entries[name]
        for name in ("mail.example.org", "web02.example.org", "db-b.example.org")
    )
    assert mail.groups == ("ungrouped",) and mail.host.user == "root" and not mail.host.sudo
    assert web.groups == ("site", "web") and db.groups == ("site", "db")
    assert (web.host.user, web.host.port, web.host.sudo) == ("deploy", 2222, True)
    wanted = {
        "env": "prod",
        "http_port": 80,
        "note": "two words",
        "flag": "true",
        "numbers": [1, 2],
    }
    assert {key: web.variables[key] for key in wanted} == wanted
    jumper = found.entries["jumper"].host
    assert (jumper.address, jumper.port, jumper.user) == ("192.0.2.50", 5555, "deploy")
    assert {entry.name for entry in found.select("site,!web")} == {
        "db-a.example.org", "db-b.example.org", "db-c.example.org",
    }  # fmt: skip


def test_precedence_is_ansibles(tmp_path: Path) -> None:
    files = {
        "hosts": "[a]\nh v1=host\n[b]\nh\n[top:children]\na\n[a:vars]\nv1=a\nv2=a\nv3=a\nv5=a\n"
        "[b:vars]\nv2=b\nv4=b\nansible_group_priority=10\n[top:vars]\nv3=top\nv4=top\nv6=top\n"
        "[all:vars]\nv6=all\nv7=all\n",
        "group_vars/all": "v5: beside-all\n",
        "group_vars/top.yml": "v7: beside-top\n",
        "host_vars/h.yml": "v1: beside-host\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    got = read_inventory(tmp_path / "hosts").entries["h"].variables
    assert [got[f"v{n}"] for n in range(1, 8)] == [
        "beside-host",  # host_vars over the host's line
        "a",  # a lies deeper than b: depth comes before priority
        "a",  # a child over its parent
        "b",  # as deep as top, and of the higher priority
        "beside-all",  # group_vars/all over a group's variables in the file
        "top",
        "beside-top",
    ]


def test_a_folder_of_sources(tmp_path: Path) -> None:
    (tmp_path / "01-static").write_text("[web]\na\n")
    (tmp_path / "02.yml").write_text("web: {hosts: {b: {}}, vars: {x: 1}}\n")
    (tmp_path / "notes.bak").write_text("[[[[")
    found = read_inventory(tmp_path)
    assert [entry.name for entry in found.select("web")] == ["a", "b"]
    assert found.entries["a"].variables["x"] == 1


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("ansible_ssh_common_args='-J ann@hop:22'", "jump", "ann@hop:22"),
        ("ansible_ssh_common_args='-o ProxyJump=hop -o ControlMaster=auto'", "jump", "hop"),
        ("ansible_ssh_extra_args='-o StrictHostKeyChecking=accept-new'", "host_keys", "accept-new"),
        ("ansible_ssh_common_args='-o UserKnownHostsFile=/kh'", "known_hosts", "/kh"),
        ("ansible_ssh_private_key_file=/k", "key", "/k"),
        ("ansible_connection=local", "transport", "local"),
        ("ansible_become=1 ansible_become_password=env://PW", "sudo_password", "env://PW"),
    ],
)
def test_connections(tmp_path: Path, line: str, field: str, value: str) -> None:
    path = tmp_path / "hosts"
    path.write_text(f"h {line}\n")
    assert getattr(read_inventory(path).entries["h"].host, field) == value


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ansible_connection=winrm", "winrm is not a way"),
        ("ansible_become=yes ansible_become_user=app", "becoming app is not offered"),
        ("ansible_become=yes ansible_become_method=doas", "doas is not offered"),
        ("ansible_password=hunter22", "by password is not offered"),
        ("ansible_become=yes ansible_become_pass=hunter22", "is a password as text"),
        ("ansible_host='{{ address }}'", "is a template of Ansible"),
        ("ansible_port=ssh", "is no number"),
        ("ansible_ssh_common_args='-o StrictHostKeyChecking=no'", "not understood"),
        ("ansible_ssh_common_args='-o ProxyCommand=nc'", "not understood"),
        ("ansible_become=perhaps", "neither yes nor no"),
    ],
)
def test_what_is_not_offered_is_refused(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "hosts"
    path.write_text(f"[web]\nh {line}\n")
    entry = read_inventory(path).entries["h"]
    with pytest.raises(InventoryError, match=said) as error:
        _ = entry.host
    assert f"{path}:2: h: ansible_" in str(error.value)
    assert "hunter22" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("hosts", "[web\nh\n", ":1: .*is no section"),
        ("hosts", "[web:kids]\n", ":1: :kids is neither"),
        (
            "hosts",
            "h\n[web:children]\nnone\n",
            ":2: group web has the child none, which is no group",
        ),
        ("hosts", "[web:vars]\nnovalue\n", ":2: a variable is written NAME=value"),
        ("hosts", "h stray\n", ":1: expected NAME=value after a host"),
        ("hosts", "h x='open\n", ":1: No closing quotation"),
        ("hosts", "web[1:x]\n", ":1: .*a range goes from number to number"),
        ("aws.yml", "plugin: aws_ec2\n", ":1: asks Ansible's inventory plugin 'aws_ec2'"),
        ("h.yml", "web:\n  hots: {}\n", ":2: hots: a group of Ansible has"),
        ("h.yml", "web:\n  hosts:\n    a: {p: !vault x}\n", ":3: .*ansible-vault"),
        ("h.json", '{"web": {"hosts": ["a"], "vars": {"p": {"__ansible_vault": "x"}}}}', "vault"),
        ("h.json", "{", ":1: is not JSON"),
        ("hosts", "$ANSIBLE_VAULT;1.1;AES256\n6638\n", ":1: .*ansible-vault"),
    ],
)
def test_errors_name_file_and_line(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InventoryError, match=said) as error:
        read_inventory(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("echo broken >&2; exit 3", "--list: exit status 3: broken"),
        ("echo not json", "--list: gave no JSON"),
        ("echo 4", "an object with groups"),
    ],
)
def test_executables_that_fail(tmp_path: Path, body: str, said: str) -> None:
    path = tmp_path / "dynamic"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    with pytest.raises(InventoryError, match=said):
        read_inventory(path)


def test_a_plain_file_marked_executable(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text("web: {}\n")
    path.chmod(0o755)
    with pytest.raises(InventoryError, match="chmod -x"):
        read_inventory(path)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("web[1:3]", "web1 web2 web3"),
        ("web[08:11]", "web08 web09 web10 web11"),
        ("[a:c][1:5:2]", "a1 a3 a5 b1 b3 b5 c1 c3 c5"),
        ("[2001:db8::1]", "[2001:db8::1]"),
    ],
)
def test_ranges(pattern: str, names: str) -> None:
    assert expand(pattern) == names.split()


def test_ports() -> None:
    assert split_port("h:22") == ("h", 22)
    assert split_port("[2001:db8::1]:2222") == ("2001:db8::1", 2222)
    assert split_port("[2001:db8::1]") == ("2001:db8::1", None)
    assert split_port("web[1:3]:22") == ("web[1:3]", 22)
    assert split_port("web[1:3]") == ("web[1:3]", None)


@given(st.text(max_size=30))
def test_any_name_is_expanded_or_refused(name: str) -> None:
    try:
        assert len(expand(name)) >= 1
    except ValueError as error:
        assert str(error)
