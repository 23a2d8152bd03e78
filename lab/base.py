"""Base images: one bootable Debian tree for each release, built once, shared by every lab."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lab import sources
from lab.commands import attempt, run
from lab.errors import LabError
from lab.recipe import PACKAGES, Recipe
from lab.store import locked, read_json

Say = Callable[[str], None]

# The package lists inside an image age: after this long a mirror may have dropped what they name.
STALE_AFTER_SECONDS = 7 * 24 * 3600
_BUILD_TIMEOUT_SECONDS = 1800
_RELEASE = re.compile(r"^[a-z][a-z0-9]{1,30}$")
_PACKAGE = re.compile(r"^[a-z0-9][a-z0-9.+-]+$")
# Whoever builds may be killed: then the builder and all it runs go too.
_BOUND_TO_US = ("setpriv", "--pdeathsig", "KILL")
_LOCAL_CERTIFICATES = Path("/usr/local/share/ca-certificates")
_APT_AUTH = (Path("/etc/apt/auth.conf"), Path("/etc/apt/auth.conf.d"))


def check_release(release: str) -> str:
    """`release` itself, when it can be a codename.

    Raises:
        LabError: it cannot (it becomes part of paths and of a command line).
    """
    if not _RELEASE.match(release):
        raise LabError(
            f"{release!r} is not a Debian codename", do='write one such as "bookworm" or "trixie"'
        )
    return release


def host_sources() -> list[sources.Source]:
    """Every enabled source of this machine's apt."""
    folder = Path("/etc/apt/sources.list.d")
    found = []
    if (main := Path("/etc/apt/sources.list")).is_file():
        found += sources.parse_one_line(main.read_text(errors="replace"))
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix == ".list":
            found += sources.parse_one_line(path.read_text(errors="replace"))
        elif path.suffix == ".sources":
            found += sources.parse_deb822(path.read_text(errors="replace"))
    return found


def debian_sources(release: str) -> list[sources.Source]:
    """Where to get `release` from: TEMPORAL_LAB_MIRROR, or this machine's own Debian mirrors."""
    if mirror := os.environ.get("TEMPORAL_LAB_MIRROR"):
        return sources.from_mirror(mirror, release)
    facts = os_release(Path("/etc/os-release"))
    if facts.get("ID") != "debian":
        return []  # a derivative's mirrors do not carry Debian's releases
    return sources.for_release(host_sources(), facts.get("VERSION_CODENAME", ""), release)


def os_release(path: Path) -> dict[str, str]:
    """The fields of an os-release(5) file; none when there is no such file."""
    text = path.read_text(errors="replace") if path.is_file() else ""
    pairs = re.findall(r"^([A-Z0-9_]+)=(.*)$", text, re.MULTILINE)
    return {name: value.strip().strip("\"'") for name, value in pairs}


def _digest(path: Path) -> str:
    total = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            total.update(str(file).encode() + b"\0" + file.read_bytes())
    return total.hexdigest()


def recipe_for(release: str, packages: Sequence[str] = ()) -> Recipe:
    """The recipe of `release` on this machine, with this machine's mirrors and apt settings.

    `packages` come on top of the usual ones.

    Raises:
        LabError: this machine's apt names no Debian mirror and TEMPORAL_LAB_MIRROR is not set.
    """
    found = debian_sources(check_release(release))
    if not found:
        raise LabError(
            "no Debian mirror in this machine's apt sources",
            where="/etc/apt",
            do="set TEMPORAL_LAB_MIRROR to the address of a Debian mirror",
        )
    settings = sources.settings_to_keep(attempt(["apt-config", "dump"]).stdout)
    for scheme in ("http", "https"):
        proxy = os.environ.get(f"{scheme}_proxy", "")
        if proxy and '"' not in proxy and f"acquire::{scheme}::proxy " not in settings.lower():
            settings += f'Acquire::{scheme}::Proxy "{proxy}";\n'
    wanted = [Path(name) for name in sources.local_files(found) + sources.settings_files(settings)]
    wanted += [*_APT_AUTH, _LOCAL_CERTIFICATES]
    if bad := [one for one in packages if not _PACKAGE.match(one)]:
        raise LabError(f"{bad[0]!r} is not a package name")
    return Recipe(
        release=release,
        packages=(*PACKAGES, *sorted(set(packages) - set(PACKAGES))),
        sources=tuple(found),
        settings=settings,
        host_files={str(path): _digest(path) for path in wanted if path.exists()},
    )


def _images(root: Path, prefix: str) -> list[Path]:
    folder = root / "base"
    return sorted(path for path in folder.glob(f"{prefix}-*") if path.is_dir())


def _age(image: Path) -> float:
    return time.time() - int(image.name.rsplit("-", 1)[1])


def ensure(
    root: Path,
    release: str,
    say: Say,
    *,
    rebuild: bool = False,
    packages: Sequence[str] = (),
) -> Path:
    """The newest image of `release` that follows today's recipe, built first if need be.

    One build at a time on this machine: others wait for it and use what it made. An
    image past its week is built anew; if that fails (no network), the old one stays in use.

    Raises:
        LabError: the build failed; holds the end of what the builder said.
    """
    recipe = recipe_for(release, packages)
    prefix = f"{release}-{recipe.digest()}"
    lock = root / "locks" / f"base-{release}"
    ready = _images(root, prefix)
    if ready and not rebuild and _age(ready[-1]) < STALE_AFTER_SECONDS:
        return ready[-1]
    with locked(lock, wait=False) as mine:
        if not mine:
            say(f"waiting for another process that builds the {release} image")
    with locked(lock):
        again = _images(root, prefix)
        if again and again != ready:
            return again[-1]
        for leftover in (root / "base").glob(f".{release}-*"):
            shutil.rmtree(leftover)
        try:
            return _build(root, recipe, prefix, say)
        except LabError as error:
            if not ready or rebuild:
                raise
            say(f"the {release} image is old and could not be built anew: {error}")
            return ready[-1]


def _build(root: Path, recipe: Recipe, prefix: str, say: Say) -> Path:
    started = time.monotonic()
    say(f"building the {recipe.release} image (once; about half a minute and a 60 MB download)")
    scratch = root / "base" / f".{prefix}"
    scratch.mkdir(parents=True)
    tree = scratch / "tree"
    listed = scratch / "lab.sources"
    listed.write_text(recipe.sources_text())
    settings = scratch / "lab.conf"
    settings.write_text(recipe.settings)
    argv = [
        *_BOUND_TO_US,
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *("mmdebstrap", "--mode=root", "--format=directory", "--variant=minbase"),
        *("--skip=cleanup/apt/lists", f"--include={','.join(recipe.packages)}"),
        f"--aptopt={settings}",
        *(f"--setup-hook={hook}" for hook in _copy_hooks(recipe)),
        *([_CERTIFICATES_HOOK] if str(_LOCAL_CERTIFICATES) in recipe.host_files else []),
        *(recipe.release, str(tree), str(listed)),
    ]
    done = attempt(argv, timeout=_BUILD_TIMEOUT_SECONDS)
    if done.returncode != 0:
        raise LabError(
            f"mmdebstrap ended with status {done.returncode}",
            where=f"{recipe.release} image",
            do="check that this machine's apt can update, and that the release exists there",
            details="\n".join(done.stderr.splitlines()[-25:]),
        )
    _finish(tree, recipe)
    image = root / "base" / f"{prefix}-{int(time.time())}"
    tree.rename(image)
    shutil.rmtree(scratch)
    say(f"built the {recipe.release} image in {time.monotonic() - started:.0f} s")
    return image


_CERTIFICATES_HOOK = '--customize-hook=chroot "$1" update-ca-certificates >/dev/null'


def _copy_hooks(recipe: Recipe) -> list[str]:
    hooks = []
    for name in recipe.host_files:
        source, parent = shlex.quote(name), shlex.quote(str(Path(name).parent))
        hooks.append(f'mkdir -p "$1"{parent} && cp -a {source} "$1"{parent}/')
    return hooks


def _finish(tree: Path, recipe: Recipe) -> None:
    tree.chmod(0o755)
    for name in recipe.removed:
        (tree / name).unlink(missing_ok=True)
    for name, text in recipe.files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name, target in recipe.links.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)
    # apt's index of its lists: 86 MB and over a second of CPU that each server would
    # otherwise spend on its first apt-get.
    run([*_BOUND_TO_US, "chroot", str(tree), "apt-cache", "gencaches"], where=str(tree))


def collect(root: Path) -> list[str]:
    """Remove images that a newer one replaces and no machine stands on; returns their names."""
    removed = []
    folder = root / "base"
    releases = {path.name.split("-", 1)[0] for path in folder.glob("[a-z]*-*-*")}
    for release in sorted(releases):
        with locked(root / "locks" / f"base-{release}", wait=False) as mine:
            if not mine:
                continue
            used = {
                record.get("base", "")
                for path in root.glob("labs/*/machines/*/machine.json")
                if (record := read_json(path)) is not None
            }
            images = sorted(_images(root, release), key=_age)
            for image in images[1:]:
                # A day's grace: a machine about to start may just have picked it.
                if str(image) not in used and _age(images[0]) > 86400:
                    shutil.rmtree(image)
                    removed.append(image.name)
    return removed
