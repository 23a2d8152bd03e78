"""Repositories, packages, accounts and what is fetched, on real Debian servers."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import lab
from converge import (
    AptRepository,
    Archive,
    AuthorizedKeys,
    Directory,
    File,
    Git,
    Group,
    Host,
    Package,
    Service,
    Symlink,
    User,
    apply,
    folder,
    plan,
)
from lab.subnets import PREFIX

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(bool(lab.missing()), reason="; ".join(lab.missing())),
]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@example"
OTHER = KEY.replace("MEBQY", "MEBQZ").replace("me@", "other@")


@pytest.fixture(scope="module")
def servers():
    place = lab.Lab(f"resources-a-{os.getpid()}", owner=os.getpid())
    try:
        yield place
    finally:
        place.down()


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def server(request, servers):
    return servers.up(1, release=request.param)[0]


@pytest.fixture(scope="module")
def bookworm(servers):
    return servers.up(1, release="bookworm")[0]


def host_of(machine) -> Host:
    return Host(
        machine.address,
        user=machine.user,
        key=str(machine.key),
        known_hosts=str(machine.known_hosts),
    )


def on(machine, command: str) -> str:
    done = subprocess.run(
        machine.ssh_command(command), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


async def settled(machine, *wanted, **more):
    report = await apply(host_of(machine), list(wanted), **more)
    assert report.ok, report.render()
    left = await plan(host_of(machine), list(wanted), **more)
    assert left.empty, left.render()
    return report


class Web:
    """A folder, served on the lab's gateway address, which its machines can reach."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.url = ""

    @contextlib.contextmanager
    def served(self, machine):
        asked = self.asked

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, format, *args):
                asked.append(self.path)

        gateway = _gateway(machine.address)
        server = ThreadingHTTPServer((gateway, 0), partial(Handler, directory=str(self.folder)))
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self.url = f"http://{gateway}:{server.server_port}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def put(self, name: str, body: bytes) -> str:
        """Its SHA-256."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        return hashlib.sha256(body).hexdigest()


def _gateway(address: str) -> str:
    from ipaddress import ip_interface

    from lab.subnets import gateway

    return str(gateway(ip_interface(f"{address}/{PREFIX}").network))


@pytest.fixture
def web(server, tmp_path):
    (tmp_path / "web").mkdir()
    with Web(tmp_path / "web").served(server) as served:
        yield served


@pytest.fixture
def web_of_bookworm(bookworm, tmp_path):
    (tmp_path / "web").mkdir()
    with Web(tmp_path / "web").served(bookworm) as served:
        yield served


def make_deb(folder: Path, name: str, version: str, **fields: str) -> Path:
    tree = folder / f"{name}-{version}"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr/share/converge-test").mkdir(parents=True)
    (tree / "usr/share/converge-test" / name).write_text(version)
    more = "".join(f"{field}: {value}\n" for field, value in fields.items())
    (tree / "DEBIAN" / "control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: x <x@example.org>\n"
        f"{more}Description: for a test\n"
    )
    target = folder / f"{name}_{version}_all.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-b", tree, target], check=True, capture_output=True
    )
    return target


class Signer:
    """A key of its own, made for one test."""

    def __init__(self, home: Path) -> None:
        home.mkdir(mode=0o700)
        self.home = home
        self._gpg("--passphrase", "", "--quick-generate-key", "x@example.org", "ed25519", "sign")

    def _gpg(self, *words: str, data: bytes = b"") -> bytes:
        done = subprocess.run(
            ["gpg", "--homedir", self.home, "--batch", "--yes", "--pinentry-mode", "loopback",
             *words],
            input=data, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def public(self, *, armored: bool) -> bytes:
        return self._gpg("--export", *(["--armor"] if armored else []))

    def sign(self, text: bytes) -> bytes:
        return self._gpg("--clear-sign", "--passphrase", "", data=text)

    def close(self) -> None:
        subprocess.run(["gpgconf", "--homedir", self.home, "--kill", "all"], check=False)


@pytest.fixture
def signer(tmp_path_factory):
    # A socket's path has to be short.
    import tempfile

    with tempfile.TemporaryDirectory(prefix="g") as place:
        made = Signer(Path(place) / "h")
        yield made
        made.close()


def publish(web: Web, signer: Signer, debs: list[Path]) -> None:
    """A flat repository (no suites, no components) of these packages."""
    stanzas = []
    for deb in debs:
        digest = web.put(f"repo/{deb.name}", deb.read_bytes())
        control = subprocess.run(
            ["dpkg-deb", "-f", deb], capture_output=True, text=True, check=True
        ).stdout
        stanzas.append(
            f"{control}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n"
        )
    packages = "\n".join(stanzas).encode()
    digest = web.put("repo/Packages", packages)
    release = (
        "Origin: test\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nAcquire-By-Hash: no\n"
        f"SHA256:\n {digest} {len(packages)} Packages\n"
    )
    web.put("repo/InRelease", signer.sign(release.encode()))


async def test_packages_of_a_repository_that_is_new_then_none_of_it(server, web, signer, tmp_path):
    publish(web, signer, [make_deb(tmp_path, "converge-one", "1.0")])
    armored = signer.public(armored=True)
    uris, suites = [f"{web.url}/repo"], ["./"]
    # By text, by a file that is binary, and by URL, binary as well: the same to apt.
    binary = signer.public(armored=False)
    (tmp_path / "key.gpg").write_bytes(binary)
    digest = web.put("key", binary)
    ways = [
        {"key_text": armored.decode()},
        {"key_file": "key.gpg"},
        {"key_url": f"{web.url}/key", "key_sha256": digest},
    ]
    # What checks the signatures differs between the releases, what we write does not.
    for way in ways if server.release == "bookworm" else ways[-1:]:
        wanted = [Package("converge-one"), AptRepository("ours", uris=uris, suites=suites, **way)]
        report = await settled(server, *wanted, load=folder(tmp_path))
        assert next(o.resource for o in report.of("changed")) == "apt_repository:ours"
        before = len(web.asked)
        assert not (await apply(host_of(server), wanted, load=folder(tmp_path))).changed
        assert len(web.asked) == before, "apt-get update ran, and nothing had changed"
    assert on(server, "cat /usr/share/converge-test/converge-one") == "1.0"
    # Another key: refused by apt, and the host is as it was.
    on(
        server,
        "sha256sum /etc/apt/keyrings/ours.asc /etc/apt/sources.list.d/ours.sources >/root/was",
    )
    other = armored.replace(b"\n\n", b"\n\nAAAA", 1)
    bad = AptRepository("ours", uris=uris, suites=suites, key_text=other.decode())
    report = await apply(host_of(server), [bad, File("/srv/free", content="x"), Package("hello")])
    assert [o.status for o in report.outcomes] == ["failed", "changed", "changed"], report.render()
    assert "as it was" in report.outcomes[0].output
    on(server, "sha256sum -c /root/was")
    publish(web, signer, [make_deb(tmp_path, "converge-one", "1.1")])
    newer = [Package("converge-one", version="1.1"), AptRepository("ours", uris=uris,
             suites=suites, key_text=armored.decode(), options={"Languages": "none"})]  # fmt: skip
    await settled(server, *newer)
    assert on(server, "cat /usr/share/converge-test/converge-one") == "1.1"
    gone = [AptRepository("ours", absent=True), Package("converge-one", purge=True)]
    await settled(server, *gone)
    assert on(server, "ls /etc/apt/keyrings /etc/apt/sources.list.d | grep ours || :") == ""


async def test_debs_by_url_holds_and_recommends(bookworm, web_of_bookworm, tmp_path):
    server, web = bookworm, web_of_bookworm
    first, second = (make_deb(tmp_path, "converge-deb", v, Depends="hello") for v in ("1.0", "2.0"))
    lean = make_deb(tmp_path, "converge-lean", "1.0", Recommends="figlet")
    sums = {p.name: web.put(p.name, p.read_bytes()) for p in (first, second, lean)}

    def deb(path, name="converge-deb", **more):
        return Package(name, deb=f"{web.url}/{path.name}", sha256=sums[path.name], **more)

    wanted = [deb(first, hold=True), deb(lean, "converge-lean", recommends=False)]
    assert (await settled(server, *wanted)).passes == 1
    assert on(server, "dpkg-query -W hello >/dev/null; apt-mark showhold") == "converge-deb"
    assert on(server, "command -v figlet || echo none") == "none"
    await settled(server, deb(second, hold=True))
    assert on(server, "cat /usr/share/converge-test/converge-deb") == "2.0"
    # The same version built anew is another package.
    again = make_deb(tmp_path / "again", "converge-deb", "2.0", Section="misc")
    sums[again.name] = web.put(f"again/{again.name}", again.read_bytes())
    rebuilt = Package("converge-deb", deb=f"{web.url}/again/{again.name}", sha256=sums[again.name])
    stuck = await apply(host_of(server), [rebuilt])
    assert not stuck.ok and "Held packages" in stuck.outcomes[0].output, stuck.render()
    await settled(server, rebuilt.model_copy(update={"hold": False}))
    assert on(server, "dpkg-query -W -f '${Section}' converge-deb") == "misc"
    wrong = [
        Package("converge-deb", deb=f"{web.url}/{first.name}", sha256="a" * 64),
        Package("converge-odd", deb=f"{web.url}/{first.name}", sha256=sums[first.name]),
        Package("cowsay", recommends=True),
    ]
    report = await apply(host_of(server), wrong)
    assert [o.status for o in report.outcomes] == ["failed", "failed", "changed"], report.render()
    assert "SHA-256" in report.outcomes[0].output and "is the package" in report.outcomes[1].output
    await settled(
        server, Package("converge-deb", purge=True), Package("converge-lean", absent=True)
    )


async def test_groups_and_keys(bookworm):
    first = [
        User("ops", groups=["shared"]),
        Group("shared", gid=4321),
        Group("machine", system=True),
        AuthorizedKeys("ops", keys=[KEY]),
        File("/srv/shared", content="x", group="shared"),
    ]
    assert (await settled(bookworm, *first)).passes == 1
    assert "4321(shared)" in on(bookworm, "id ops")
    assert on(bookworm, "cat ~ops/.ssh/authorized_keys; stat -c '%U %a' ~ops/.ssh") == (
        f"{KEY}\nops 700"
    )
    on(bookworm, f"echo '{OTHER}' >>~ops/.ssh/authorized_keys")
    assert (await plan(host_of(bookworm), [AuthorizedKeys("ops", keys=[KEY])])).empty
    await settled(bookworm, AuthorizedKeys("ops", removed=[OTHER]), Group("shared", gid=4322))
    assert on(bookworm, "cat ~ops/.ssh/authorized_keys; getent group shared") == (
        f"{KEY}\nshared:x:4322:ops"
    )
    await settled(bookworm, AuthorizedKeys("ops", keys=[OTHER], exclusive=True))
    assert on(bookworm, "cat ~ops/.ssh/authorized_keys") == OTHER
    # Root's own are merged: else nobody could come back.
    mine = on(bookworm, "cat /root/.ssh/authorized_keys")
    await settled(bookworm, AuthorizedKeys("root", keys=[KEY]))
    assert on(bookworm, "cat /root/.ssh/authorized_keys").startswith(mine)
    (blocked,) = (
        await plan(host_of(bookworm), [AuthorizedKeys("nobody-here", keys=[KEY])])
    ).changes
    assert blocked.action == "blocked" and "neither" in blocked.why
    stuck = await apply(host_of(bookworm), [Group("ops", absent=True)])
    assert not stuck.ok and "primary" in stuck.outcomes[0].output
    await settled(bookworm, Group("shared", absent=True), Group("machine", absent=True),
                  User("ops", absent=True, purge_home=True))  # fmt: skip


async def test_an_application_from_nothing_in_one_pass(bookworm, web_of_bookworm, tmp_path):
    web = web_of_bookworm
    with tarfile.open(tmp_path / "app.tgz", "w:gz") as tar:
        (tmp_path / "run").write_text("#!/bin/sh\nexec sleep 1000000\n")
        (tmp_path / "run").chmod(0o755)
        tar.add(tmp_path / "run", "app-1/bin/run")
    digest = web.put("app.tgz", (tmp_path / "app.tgz").read_bytes())
    (tmp_path / "unit.j2").write_text(
        "[Service]\nUser={{ user }}\nExecStart={{ root }}/current/bin/run\n"
    )
    unit = File(
        "/etc/systemd/system/app.service",
        template="unit.j2",
        variables={"root": "/srv/app"},
        check="grep -q '^User=app' %s",
    )
    archive = Archive("/srv/app/releases/1", url=f"{web.url}/app.tgz", sha256=digest, strip=1,
                      owner="app")  # fmt: skip
    current = Symlink("/srv/app/current", target="/srv/app/releases/1", owner="app")
    wanted = [
        Service("app", running=True, on_change=[archive, unit, current]),
        unit,
        current,
        archive,
        Directory("/srv/app", owner="app", mode="0750"),
        User("app", system=True, home="/srv/app", create_home=False),
    ]
    more = {"load": folder(tmp_path), "variables": {"user": "app"}}
    report = await settled(bookworm, *wanted, **more)
    assert report.passes == 1, report.render()
    assert on(bookworm, "ps -o user=,args= -C sleep").startswith("app")
    assert on(bookworm, "stat -c %U /srv/app/current/bin/run") == "app"


def pack_repository(source: Path, target: Path) -> None:
    source.mkdir()
    name = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "one"]):
        (source / "page").write_text("hello")
        subprocess.run(["git", *name, *words], cwd=source, check=True, capture_output=True)
    with tarfile.open(target, "w") as tar:
        tar.add(source / ".git", "repo.git")


async def test_a_checkout_over_a_package_that_brings_git(bookworm, tmp_path):
    pack_repository(tmp_path / "source", tmp_path / "repo.tar")
    wanted = [
        User("web"),
        Git("/srv/site", repo="file:///srv/repo.git", ref="main", owner="web"),
        Archive("/srv/repo.git", source="repo.tar", strip=1, owner="web"),
        Package("git", recommends=False),
    ]
    shown = await plan(host_of(bookworm), wanted, load=folder(tmp_path))
    assert {c.resource: c.action for c in shown.changes}["git:/srv/site"] == "unknown"
    report = await settled(bookworm, *wanted, load=folder(tmp_path))
    assert report.passes == 1, report.render()
    assert on(bookworm, "cat /srv/site/page; echo; stat -c %U /srv/site/page") == "hello\nweb"
    await settled(bookworm, Git("/srv/site", absent=True))
