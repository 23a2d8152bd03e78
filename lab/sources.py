"""apt's sources, read and turned towards another Debian release: pure, on text alone.

Formats: sources.list(5), both the one-line style and the deb822 style.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

# What a server of a release follows; backports and proposed-updates are a choice, not a default.
_POCKETS = ("", "-updates", "-security")
_ROLLING = ("stable", "oldstable", "testing")
_OPTION_FIELDS = {
    "arch": "Architectures",
    "lang": "Languages",
    "target": "Targets",
    "signed-by": "Signed-By",
    "trusted": "Trusted",
    "by-hash": "By-Hash",
    "check-valid-until": "Check-Valid-Until",
    "check-date": "Check-Date",
}
_ONE_LINE = re.compile(r"^(?P<type>deb|deb-src)\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<rest>\S.*)$")


@dataclass(frozen=True)
class Source:
    """One stanza of binary packages. `fields` holds every other deb822 field as it stood."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    fields: dict[str, str] = field(default_factory=dict)


def parse_one_line(text: str) -> list[Source]:
    """The enabled `deb` lines of a sources.list; lines that are not one are left out."""
    found = []
    for line in text.splitlines():
        match = _ONE_LINE.match(line.split("#", 1)[0].strip())
        if match is None or match["type"] != "deb":
            continue
        uri, *words = match["rest"].split()
        if not words:
            continue
        fields = {}
        for option in (match["options"] or "").split():
            name, _, value = option.partition("=")
            known = _OPTION_FIELDS.get(name.lower())
            if known and value:
                fields[known] = value.replace(",", " ")
        found.append(Source((uri,), (words[0],), tuple(words[1:]), fields))
    return found


def parse_deb822(text: str) -> list[Source]:
    """The enabled `deb` stanzas of a .sources file, multi-line fields (keys) kept whole."""
    found = []
    for stanza in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n")):
        fields: dict[str, str] = {}
        last = ""
        for line in stanza.splitlines():
            if line.startswith("#") or not line.strip():
                continue
            if line[0] in " \t":
                if last:
                    fields[last] += "\n" + line
                continue
            name, colon, value = line.partition(":")
            if colon:
                last = name.strip().title()
                fields[last] = value.strip()
        types = fields.pop("Types", "").split()
        uris = tuple(fields.pop("Uris", "").split())
        suites = tuple(fields.pop("Suites", "").split())
        components = tuple(fields.pop("Components", "").split())
        enabled = fields.pop("Enabled", "yes").strip().lower() not in ("no", "false", "0", "off")
        if enabled and "deb" in types and uris and suites:
            found.append(Source(uris, suites, components, fields))
    return found


def for_release(sources: Iterable[Source], codename: str, release: str) -> list[Source]:
    """Of this machine's sources, the distribution's own, turned towards `release`.

    Args:
        codename: the release this machine runs (VERSION_CODENAME of os-release).
        release: the codename wanted, such as "trixie".

    Third parties' suites, backports and media that only this machine can see
    (cdrom:, file:) are left out. An empty list means there is nothing to build from.
    """
    names = {base + pocket: pocket for base in (codename, *_ROLLING) for pocket in _POCKETS if base}
    turned = []
    for source in sources:
        uris = tuple(uri for uri in source.uris if not uri.startswith(("cdrom:", "file:", "copy:")))
        suites = tuple(
            dict.fromkeys(release + names[suite] for suite in source.suites if suite in names)
        )
        if uris and suites and "main" in source.components:
            candidate = replace(source, uris=uris, suites=suites)
            if candidate not in turned:
                turned.append(candidate)
    return turned


def from_mirror(uri: str, release: str) -> list[Source]:
    """A source of `release` at one mirror, for machines whose own apt knows no Debian mirror."""
    return [Source((uri,), (release, f"{release}-updates"), ("main",))]


def render(sources: Iterable[Source]) -> str:
    """deb822 text of `sources`; parse_deb822 reads it back to the same value."""
    stanzas = []
    for source in sources:
        lines = [
            "Types: deb",
            f"URIs: {' '.join(source.uris)}",
            f"Suites: {' '.join(source.suites)}",
            f"Components: {' '.join(source.components)}",
            *(f"{name}: {value}" for name, value in source.fields.items()),
        ]
        stanzas.append("\n".join(lines) + "\n")
    return "\n".join(stanzas)


def local_files(sources: Iterable[Source]) -> list[str]:
    """Absolute paths the sources point to (keyrings, mirror lists): a machine needs them too."""
    paths: dict[str, None] = {}
    for source in sources:
        for word in source.fields.get("Signed-By", "").replace(",", " ").split():
            if word.startswith("/"):
                paths[word] = None
        for uri in source.uris:
            if uri.startswith("mirror+file:"):
                paths["/" + uri.removeprefix("mirror+file:").lstrip("/")] = None
    return list(paths)


def settings_to_keep(dump: str) -> str:
    """apt.conf text of what a lab machine must share with this one to reach its mirrors.

    Args:
        dump: output of `apt-config dump`.

    Kept is how to fetch (proxies, certificates, retries, date checks, languages);
    left out is what names programs or media of this machine.
    """
    kept = []
    for line in dump.splitlines():
        match = re.match(r'^(Acquire::[^\s"]+) "(.*)";$', line)
        if match is None or not match[2]:
            continue
        name = match[1].lower()
        if any(part in name for part in ("::indextargets", "::cdrom", "proxy-auto-detect")):
            continue
        kept.append(line)
    return "".join(line + "\n" for line in kept)


def settings_files(settings: str) -> list[str]:
    """Absolute paths of certificates and keys that kept settings name."""
    pattern = r'::(?:CaInfo|CaPath|SslCert|SslKey|IssuerCert|CrlFile) "(/[^"]+)";'
    return list(dict.fromkeys(re.findall(pattern, settings, flags=re.IGNORECASE)))
