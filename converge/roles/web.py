"""nginx and haproxy: sites and backends as data, checked by the program itself before they go live."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from converge.resource import Resource
from converge.resources import File, Line, Package, Service
from converge.roles.baseline import Port
from converge.roles.role import Parameters


def _word(value: str) -> str:
    """What stands in a configuration unquoted must not end its line or its block."""
    if not value or any(c.isspace() or c in "{};#\"'\\" or not c.isprintable() for c in value):
        raise ValueError(f"{value!r} must be one word without quotes, braces and ;")
    return value


Word = Annotated[str, AfterValidator(_word)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class Site(Parameters):
    """A server block: files below `root`, or what is asked is handed on to `proxy`."""

    name: Name
    names: tuple[Word, ...] = ("_",)
    listen: tuple[Word, ...] = ("80", "[::]:80")
    root: Word | None = None
    proxy: Word | None = None
    certificate: Word | None = None
    certificate_key: Word | None = None
    body_size: Word = "1m"

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.root is None) == (self.proxy is None):
            raise ValueError("give exactly one of root and proxy")
        if (self.certificate is None) != (self.certificate_key is None):
            raise ValueError("certificate and certificate_key go together")
        return self


def nginx(
    sites: tuple[Site, ...] = (),
    default_site: bool = False,
    server_tokens: bool = False,
    package: Literal["nginx", "nginx-light", "nginx-full", "nginx-extras"] = "nginx",
) -> Iterator[Resource]:
    """nginx with these sites; Debian's own default site is removed unless `default_site`."""
    yield Package(package)
    # In its place, since saying it twice is an error, and trixie's nginx.conf says `build`.
    tokens = Line(
        f"\tserver_tokens {'on' if server_tokens else 'off'};",
        file="/etc/nginx/nginx.conf",
        match=r"^[[:space:]]*(#[[:space:]]*)?server_tokens[[:space:]]",
        after=r"^[[:space:]]*http[[:space:]]*[{]",
    )
    files: list[Resource] = [tokens]
    if not default_site:
        files.append(File("/etc/nginx/sites-enabled/default", absent=True))
    files += [
        File(f"/etc/nginx/conf.d/{site.name}.conf", content=_site(site), mode="0644")
        for site in sites
    ]
    yield from files
    yield Service("nginx", running=True, enabled=True, on_change=files, action="reload")


def _site(site: Site) -> str:
    tls = " ssl" if site.certificate else ""
    lines = [f"listen {address}{tls};" for address in site.listen]
    lines.append(f"server_name {' '.join(site.names)};")
    lines.append(f"client_max_body_size {site.body_size};")
    if site.certificate:
        lines += [
            f"ssl_certificate {site.certificate};",
            f"ssl_certificate_key {site.certificate_key};",
        ]
    if site.root:
        lines += [f"root {site.root};", "location / { try_files $uri $uri/ =404; }"]
    else:
        lines += [
            "location / {",
            f"  proxy_pass {site.proxy};",
            "  proxy_http_version 1.1;",
            "  proxy_set_header Host $host;",
            "  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
            "  proxy_set_header X-Forwarded-Proto $scheme;",
            "}",
        ]
    return "server {\n" + "".join(f"  {line}\n" for line in lines) + "}\n"


class Backend(Parameters):
    """Servers that answer for a frontend, and how it is told which of them are well."""

    name: Name
    servers: tuple[Word, ...] = Field(min_length=1)
    """address:port of each."""
    mode: Literal["http", "tcp"] = "http"
    balance: Literal["roundrobin", "leastconn", "source"] = "roundrobin"
    check: Word | None = None
    """Path that a well server answers with 2xx or 3xx; else a connection is enough."""


class Frontend(Parameters):
    """Where haproxy listens, and which backend is asked."""

    name: Name
    bind: tuple[Word, ...] = Field(min_length=1)
    backend: Name
    mode: Literal["http", "tcp"] = "http"


def haproxy(
    frontends: tuple[Frontend, ...],
    backends: tuple[Backend, ...],
    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = 4096,
    stats_port: Port | None = None,
) -> Iterator[Resource]:
    """haproxy with these frontends and backends; the admin socket drains and readies servers."""
    known = {backend.name for backend in backends}
    for frontend in frontends:
        if frontend.backend not in known:
            raise ValueError(
                f"frontend {frontend.name} asks backend {frontend.backend}, which is not declared"
            )
    yield Package("haproxy")
    file = File(
        "/etc/haproxy/haproxy.cfg",
        content=_haproxy(frontends, backends, max_connections, stats_port),
        mode="0644",
        check="haproxy -c -q -f %s",
    )
    yield file
    yield Service("haproxy", running=True, enabled=True, on_change=[file], action="reload")


def _haproxy(
    frontends: tuple[Frontend, ...],
    backends: tuple[Backend, ...],
    most: int,
    stats_port: int | None,
) -> str:
    parts = [
        "global\n  log /dev/log local0\n  user haproxy\n  group haproxy\n"
        f"  maxconn {most}\n"
        "  stats socket /run/haproxy/admin.sock mode 660 level admin\n",
        "defaults\n  log global\n  option dontlognull\n  timeout connect 5s\n"
        "  timeout client 60s\n  timeout server 60s\n"
        # A server that has just gone is found out by whoever asks next: that one gets another.
        "  option redispatch 1\n  retries 3\n",
    ]
    if stats_port is not None:
        parts.append(
            f"frontend stats\n  mode http\n  bind 127.0.0.1:{stats_port}\n  stats enable\n"
            "  stats uri /\n  http-request use-service prometheus-exporter if { path /metrics }\n"
        )
    for frontend in frontends:
        binds = "".join(f"  bind {address}\n" for address in frontend.bind)
        parts.append(
            f"frontend {frontend.name}\n  mode {frontend.mode}\n{binds}"
            f"  default_backend {frontend.backend}\n"
        )
    for backend in backends:
        lines = [f"  mode {backend.mode}\n", f"  balance {backend.balance}\n"]
        if backend.check:
            lines.append(f"  option httpchk GET {backend.check}\n")
        lines += [
            f"  server s{number} {address} check\n"
            for number, address in enumerate(backend.servers, 1)
        ]
        parts.append(f"backend {backend.name}\n{''.join(lines)}")
    return "\n".join(parts)
