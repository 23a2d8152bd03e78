"""Roles: ours, in YAML and in Python beside a spec, and what is said when one does not fit."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converge import File, Package
from converge.graph import arrange
from converge.roles import RoleMisfit, app_host, baseline, expand, haproxy, nginx, postgresql
from converge.roles.baseline import Admin
from converge.roles.web import Backend, Frontend, Site

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ann@example"


def ids(items: list[Any]) -> list[str]:
    return [item.id for item in items]


def misfit(item: dict[str, Any], folder: Path) -> list[tuple[tuple[Any, ...], str]]:
    with pytest.raises(RoleMisfit) as error:
        expand([Package("x1"), item], folder)
    return [(finding.loc, finding.message) for finding in error.value.findings]


def test_items_keep_their_places(tmp_path: Path) -> None:
    items = [Package("first"), {"role": "nginx"}, {"package": "last"}]
    made, origins = expand(items, tmp_path)
    assert made[0] == items[0] and made[-1] == items[2]
    assert origins == [0, *[1] * (len(made) - 2), 2]


def test_all_of_ours_stand_beside_each_other() -> None:
    """As library functions; and no two contradict each other or close a circle."""
    spec = arrange(
        [
            *baseline(admins=(Admin(user="ann", keys=(KEY,)),), open_ports=(80, 443)),
            *nginx(sites=(Site(name="a", root="/srv/a"), Site(name="b", proxy="http://[::1]:8"))),
            *postgresql(settings={"max_connections": 20, "log_statement": "d'dl", "fsync": True}),
            *haproxy(
                (Frontend(name="in", bind=("*:8080",), backend="app"),),
                (Backend(name="app", servers=("127.0.0.1:81",), check="/up"),),
                stats_port=8404,
            ),
            *app_host("app", "/srv/app/current/run", environment={"A": 'b "c" 5%'}),
        ]
    )
    text = {r.name: r.content or "" for r in spec.resources if isinstance(r, File)}
    assert "max_connections = 20\nlog_statement = 'd''dl'\nfsync = on\n" in "".join(text.values())
    assert "server s1 127.0.0.1:81 check" in text["/etc/haproxy/haproxy.cfg"]
    assert "proxy_pass http://[::1]:8;" in text["/etc/nginx/conf.d/b.conf"]


def test_baseline_never_closes_the_port_it_is_reached_by(tmp_path: Path) -> None:
    made, _ = expand([{"role": "baseline", "with": {"ssh_port": 2222}}], tmp_path)
    (rules,) = [r for r in made if r.key == "nftables"]
    (sshd,) = [r for r in made if r.key == "sshd"]
    assert "tcp dport { 2222 } accept" in rules.content
    assert sshd.settings["Port"] == ("2222",)
    assert sshd.settings["PasswordAuthentication"] == ("no",)


def test_a_container_keeps_its_hands_off_kernel_and_clock(tmp_path: Path) -> None:
    made, _ = expand([{"role": "baseline", "with": {"container": True}}], tmp_path)
    assert not [i for i in ids(made) if "sysctl:kernel" in i or "timesyncd" in i]
    assert "sysctl:net.ipv4.conf.all.rp_filter" in ids(made)


def test_baseline_can_be_told_otherwise(tmp_path: Path) -> None:
    """Null leaves out what it would set, anything else adds to it or replaces it."""
    asked = {
        "sysctl": {"kernel.sysrq": None, "kernel.dmesg_restrict": 0, "vm.swappiness": 10},
        "ssh": {"AllowTcpForwarding": None, "MaxSessions": 4},
        "login": {"UMASK": None, "PASS_MAX_DAYS": 365},
        "blocked_modules": ["usb_storage"],
        "banner": "no\\way",
        "stale_services": "restart",
    }
    made, _ = expand([{"role": "baseline", "with": asked}], tmp_path)
    kernel = {r.sysctl: r.value for r in made if r.key == "sysctl"}
    assert "kernel.sysrq" not in kernel
    assert (kernel["kernel.dmesg_restrict"], kernel["vm.swappiness"]) == ("0", "10")
    (sshd,) = [r for r in made if r.key == "sshd"]
    assert "AllowTcpForwarding" not in sshd.settings and sshd.settings["MaxSessions"] == ("4",)
    assert sshd.settings["Banner"] == ("/etc/issue.net",)
    lines = [r.line for r in made if r.key == "line"]
    assert "PASS_MAX_DAYS\t365" in lines and not [x for x in lines if "mask" in x.lower()]
    assert [r.id for r in made if r.key == "kernel_module"] == ["kernel_module:usb_storage"]
    text = {r.name: r.content for r in made if r.key == "file"}
    # getty would read \w as one of its own.
    assert text["/etc/issue"] == "no\\\\way\n\n" and text["/etc/issue.net"] == "no\\way\n"
    assert "'a'" in text["/etc/needrestart/conf.d/50-baseline.conf"]


@pytest.mark.parametrize(
    ("item", "loc", "said"),
    [
        (
            {"role": "baseline", "with": {"login": {"UMASK 0\nROOT": 1}}},
            ("with", "login", "UMASK 0\nROOT", "[key]"),
            "match pattern",
        ),
        ({"role": "ngnix"}, ("role",), "no such role.*did you mean nginx"),
        ({"role": "../etc"}, ("role",), "no such role"),
        ({"role": 3}, ("role",), "must be the name"),
        ({"role": "nginx", "sites": []}, ("sites",), "parameters stand below"),
        ({"role": "nginx", "with": [1]}, ("with",), "must be a mapping"),
        ({"role": "nginx", "with": {"site": []}}, ("with", "site"), "did you mean sites"),
        ({"role": "haproxy"}, ("with", "frontends"), "needs this"),
        (
            {"role": "baseline", "with": {"open_ports": [80, 99999]}},
            ("with", "open_ports", 1),
            "65535",
        ),
        (
            {"role": "nginx", "with": {"sites": [{"name": "a", "root": "/x; }"}]}},
            ("with", "sites", 0, "root"),
            "one word",
        ),
        (
            {
                "role": "haproxy",
                "with": {
                    "frontends": [{"name": "f", "bind": ["*:1"], "backend": "no"}],
                    "backends": [{"name": "b", "servers": ["x:1"]}],
                },
            },
            ("with",),
            "asks backend no, which is not declared",
        ),
    ],
)
def test_what_does_not_fit(
    tmp_path: Path, item: dict[str, Any], loc: tuple[Any, ...], said: str
) -> None:
    found = misfit(item, tmp_path)
    # Behind the item's own place in the list.
    assert ((1, *loc)) in [where for where, _ in found], found
    assert re.search(said, " ".join(message for _, message in found)), found


# --- in YAML -------------------------------------------------------------------------------------

MOTD = """\
summary: a message for whoever logs in
parameters:
  text: string
  users: {type: list of string, default: []}
  tone: {type: string, one_of: [plain, loud], default: plain}
  limits: {type: mapping of integer, default: {}}
resources:
  - file: /etc/motd
    content: "{{ text | upper if tone == 'loud' else text }}, {{ vars.site }}\\n"
  - user: "{{ item }}"
    each: users
    when: item != 'root'
    groups: "{{ users }}"
  - sysctl: "{{ item.key }}"
    each: "{{ limits }}"
    value: "{{ item.value }}"
  - role: nginx
    when: users
    with: {sites: [{name: "{{ users[0] }}", root: /srv}]}
"""


def role(folder: Path, name: str, text: str) -> None:
    (folder / "roles").mkdir(exist_ok=True)
    (folder / "roles" / name).write_text(text)


def test_a_role_in_yaml(tmp_path: Path) -> None:
    role(tmp_path, "motd.yml", MOTD)
    asked = {"text": "hello", "users": ["ann", "root"], "limits": {"vm.swappiness": 10}}
    item = {"role": "motd", "with": {**asked, "tone": "loud"}}
    made, _ = expand([item], tmp_path, {"site": "north"})
    assert made[0].content == "HELLO, north\n"
    assert [r.id for r in made if r.key == "user"] == ["user:ann"]
    assert made[1].groups == ("ann", "root"), "a value that is one expression keeps its kind"
    assert made[2].id == "sysctl:vm.swappiness"
    assert "file:/etc/nginx/conf.d/ann.conf" in ids(made)
    # Nothing is left over from one call in the next.
    plain, _ = expand([{"role": "motd", "with": {"text": "x"}}], tmp_path, {"site": "s"})
    assert ids(plain) == ["file:/etc/motd"] and plain[0].content == "x, s\n"


def test_a_role_beside_the_spec_replaces_ours(tmp_path: Path) -> None:
    role(tmp_path, "nginx.yml", "resources:\n  - package: nginx-light\n")
    made, _ = expand([{"role": "nginx"}], tmp_path)
    assert ids(made) == ["package:nginx-light"]


@pytest.mark.parametrize(
    ("given", "loc", "said"),
    [
        ({}, ("with", "text"), "needs this"),
        ({"text": 3}, ("with", "text"), "string"),
        ({"text": "x", "user": []}, ("with", "user"), "did you mean users"),
        ({"text": "x", "tone": "shrill"}, ("with", "tone"), "plain"),
        ({"text": "x", "users": ["a", 2]}, ("with", "users", 1), "string"),
    ],
)
def test_parameters_of_a_role_in_yaml(
    tmp_path: Path, given: dict[str, Any], loc: tuple[Any, ...], said: str
) -> None:
    role(tmp_path, "motd.yml", MOTD)
    ((where, message),) = misfit({"role": "motd", "with": given}, tmp_path)
    assert where == (1, *loc) and said in message


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("parameters: {}\n", 1, "has `resources`"),
        ("resources: []\nextra: 1\n", 2, "extra: a role has no such part"),
        ("parameters:\n  a: strin\nresources: []\n", 2, "there is no type 'strin'"),
        ("parameters:\n  a: {type: integer, default: x}\nresources: []\n", 2, "default does not"),
        ("parameters:\n  vars: string\nresources: []\n", 2, "no name for a parameter"),
        ("resources:\n  - file: /etc/x\n    contents: a\n", 3, "contents: there is no such field"),
        ("resources:\n  - package: nginx\n  - pakage: x\n", 3, "names no resource type"),
        ("resources:\n  - package: '{{ nothing }}'\n", 2, "'nothing' is undefined"),
        ("resources:\n  - package: '{{ 1 + }}'\n", 2, "template"),
        ("resources:\n  - package: x1\n    each: 3\n", 2, "each: must be a list"),
        ("resources:\n  - role: me\n", 2, "in a circle: me > me"),
        ("resources:\n  - role: nginx\n    with: {x: 1}\n", 2, "has no such parameter"),
        ("resources:\n  - package: !!python/name:os.system x\n", 2, "only plain YAML"),
        ("resources: [\n", 2, "is not YAML"),
    ],
)
def test_a_role_in_yaml_that_is_wrong(tmp_path: Path, text: str, line: int, said: str) -> None:
    role(tmp_path, "me.yml", text)
    ((where, message),) = misfit({"role": "me"}, tmp_path)
    assert where[0] == 1 and said in message, message
    assert f"me.yml:{line}" in message, message


@pytest.mark.parametrize(
    "code",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ vars.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ lipsum.__globals__['os'].system('true') }}",
        "x{% for c in ().__class__.__base__.__subclasses__() %}{{ c }}{% endfor %}",
        "{{ vars.update({'x': 1}) }}",
    ],
)
def test_templates_reach_nothing_outside(tmp_path: Path, code: str) -> None:
    role(tmp_path, "me.yml", f"resources:\n  - file: /etc/x\n    content: {code!r}\n")
    ((_, message),) = misfit({"role": "me"}, tmp_path)
    assert "template" in message and "me.yml:2" in message


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=40))
def test_any_parameter_arrives_as_it_is(text: str) -> None:
    """Values are data: what looks like a template in them is not rendered."""
    if "\0" in text or any(0xD800 <= ord(c) < 0xE000 for c in text):
        return
    with tempfile.TemporaryDirectory() as folder:
        role(Path(folder), "me.yml", "parameters: {t: string}\nresources:\n"
             "  - file: /etc/x\n    content: '{{ t }}'\n")  # fmt: skip
        made, _ = expand([{"role": "me", "with": {"t": text}}], Path(folder))
    assert made[0].content == text


# --- in Python -----------------------------------------------------------------------------------


def test_a_role_in_python(tmp_path: Path) -> None:
    role(
        tmp_path,
        "site.py",
        "from __future__ import annotations\nfrom converge import File, Package\n\n"
        "def site(name: str, packages: list[str] = []):\n"
        "    yield from map(Package, packages)\n    yield File('/etc/' + name, content='x')\n",
    )
    made, _ = expand([{"role": "site", "with": {"name": "a", "packages": ["p1"]}}], tmp_path)
    assert ids(made) == ["package:p1", "file:/etc/a"]
    ((where, message),) = misfit({"role": "site", "with": {"nam": "a", "name": "b"}}, tmp_path)
    assert where == (1, "with", "nam") and "did you mean name" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def me(:\n", "me.py:1: "),
        ("\nraise RuntimeError('no')\n", "me.py:2: RuntimeError: no"),
        ("x = 1\n", "has no function me"),
        ("def me(a):\n    return []\n", "parameter a has no type"),
        ("def me():\n    return [3]\n", "makes 3, which is no resource"),
        (
            "from converge import File\ndef me():\n    return [File('x')]\n",
            "makes a File that does",
        ),
    ],
)
def test_a_role_in_python_that_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    role(tmp_path, "me.py", text)
    ((_, message),) = misfit({"role": "me"}, tmp_path)
    assert said in message, message
