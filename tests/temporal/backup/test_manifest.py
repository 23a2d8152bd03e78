"""The manifest of a files source on real servers: made, made anew, compared with what is restored."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab import Lab
from temporal.activities.backup import manifest_sh
from temporal.shared.specs.backup.sources import FilesSource
from tests.temporal.backup.conftest import BackupServer
from tests.temporal.backup.filing import Filing, octal, records

pytestmark = pytest.mark.lab
BOTH = pytest.mark.parametrize("release", ["bookworm", "trixie"])
NAMES = [b"plain", b"a b  c ", b"n\nl", b"\nfirst", b"l\xe9atin", b"\xc3\xa9", b"tab\t", b"cr\r",
         b"b\\s", b"\\n", b"100%s%20", b"-dash", b"'\"$(x)`", b"*", b"+1:2 f", b"x"]  # fmt: skip
TARGET, LINK = octal(b"to n\nl"), octal(b"link n\nl")
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.fixture
def release() -> str:
    return "bookworm"


@pytest.fixture
def filing(backup_lab: Lab, backup_server: BackupServer, release: str) -> Iterator[Filing]:
    place = Filing(backup_lab, backup_server(release))
    yield place
    place.clean()


def all_kinds(filing: Filing) -> str:
    """sh that makes one of everything, with odd names, old and new."""
    odd = "; ".join(f"echo {number} >{octal(name)}" for number, name in enumerate(NAMES))
    return f"""
cd {filing.root} || exit
mkdir odd sub gid empty; ( cd odd || exit; {odd} ) || exit
( cd odd && ln -s {TARGET} {LINK} )
echo 1 >sub/one; ln sub/one hard; ln -s /nowhere absolute; ln -s sub/one relative; : >sub/nothing
truncate -s 3000000 sub/sparse; mkfifo fifo; mknod null c 1 3; mknod disk b 7 99
ssh-agent -a {filing.root}/socket >"$T/agent"; . "$T/agent" >/dev/null; kill -9 "$SSH_AGENT_PID"
chmod 4755 sub/one; chmod 1777 sub; chmod 2775 gid; chown 12:34 sub/nothing; chmod 0 empty
touch -d '1960-01-02 03:04:05.5' sub/nothing; touch -h -d '2001-02-03 04:05:06.123456789' absolute
touch -d '2200-01-01 00:00:00.25' sub/sparse; touch -d '2001-02-03 04:05:06.987654321' sub fifo null
"""


@BOTH
def test_a_restored_copy_is_the_same_whatever_its_names_and_kinds(filing: Filing) -> None:
    source = filing.source()
    filing.run(all_kinds(filing) + filing.make(source) + filing.back_up(source) + filing.restore())
    assert filing.listed() == filing.taken(source.files)
    assert len([line for line in filing.manifest() if line.split(b" ")[1] == b"f"]) == 20
    found = records(filing.run("began=$(date +%s) ended=$((began + 9))\n" + filing.compare(source)))
    count = len(filing.manifest())
    assert found["compared"][0] == [count, count] and "lost" in found and len(found) == 2, found
    # As somebody else, who owns what they restored and can make no devices.
    mine = filing.run(
        f"""
cd "$X{filing.root}" && touch -r . "$T/then" && rm null disk && touch -r "$T/then" . || exit
chown -R 65534 {filing.folder}; rm -rf "$X/.temporal-ops"
cat >"$T/script" <<'EOF'
{filing.script("began=$(date +%s) ended=$((began + 9)); " + manifest_sh.compare_call(source, False))}
EOF
chown -R 65534 "$T"; setpriv --reuid 65534 --clear-groups sh "$T/script"
"""
    )
    assert records(mine)["compared"][0] == [count - 2] * 2


@BOTH
def test_each_difference_is_told_by_what_it_is(filing: Filing) -> None:
    source = filing.source()
    found = records(
        filing.run(
            f"""
cd {filing.root}
for each in same content size mode gone link 'lost 1' moved vanished rotated.1; do echo 1 >"$each"; done
latin=$(printf 'l\\351'); echo 1 >"$latin"
ln -sf target link; mkdir folder tree; echo 1 >tree/leaf; touch -d @1000000000 tree/leaf *
sleep 3.1; began=$(date +%s)
{filing.make(source)}
# What goes on while it is backed up: of this nothing can be said.
mv moved folder/moved; rm vanished; echo 2 >new; cp -p same old; mv rotated.1 rotated.2
echo 2 >written; echo 3 >same; touch -d @1000000000 same
mv tree grown; mv "$latin" "$latin.1"
{filing.back_up(source)}
{filing.restore()}
ended=$(($(date +%s) - 4))
cd "$X{filing.root}" || exit
echo 2 >content; touch -d @1000000000 content; echo 22 >size; chmod 600 mode; ln -sfn other link
rm gone 'lost 1'; : >extra; touch -d @1000000000 extra mode size; touch -h -d @1000000000 link
"""
            + filing.compare(source)
        )
    )
    kinds = {
        name.removeprefix("differ "): (numbers, body) for name, (numbers, body) in found.items()
    }

    def paths(kind: str) -> set[str]:
        count, body = kinds.pop(kind)
        assert count == [len(body)]
        sides = [line.partition("\t") for line in body]
        return {(was or now).split(" ")[8].removeprefix(filing.root) for was, _, now in sides}

    assert paths("corrupt") == {"/content", "/size", "/link"}
    assert paths("metadata") == {"/mode"}
    assert paths("extra") == {"/extra"}
    gone = {"/moved", "/vanished", "/rotated.1", "/tree", "/tree/leaf", "/l\udce9"}
    assert paths("missing") == {"/gone", "/lost%201", *gone}
    came = {"/rotated.2", "/folder/moved", "/grown", "/grown/leaf", "/l\udce9.1"}
    assert paths("created") == {"/new", "/old", "/written", *came}
    assert paths("changed") == {"", "/folder", "/same"}
    assert kinds.pop("compared")[0] == [16, 16 - 4 - 8 - 3]
    lost = [f"{filing.root}/gone", f"{filing.root}/lost%201"]
    assert kinds == {"lost": ([2], lost)}


def test_without_restics_ctimes_only_what_has_a_new_mtime_was_changed(filing: Filing) -> None:
    source = filing.source()
    body = f"cd {filing.root}; echo 1 >a; echo 1 >b; sleep 3.1; began=$(date +%s)\n{filing.make(source)}"
    body += (
        f"echo 2 >a; echo 2 >b; touch -d @1000000000 b\n{filing.back_up(source)}{filing.restore()}"
    )
    found = records(
        filing.run(body + "ended=$(date +%s)\n" + filing.compare(source, touched=False))
    )
    assert found["differ changed"][0] == [1] and found["differ corrupt"][0] == [1]


def test_many_differences_are_counted_and_some_of_them_are_told(filing: Filing) -> None:
    source = filing.source()
    body = f"""
cd {filing.root}; seq -f %09.0f 1000 | xargs touch; mkdir -p "$X$W/proof" "$X{filing.root}"
began=$(date +%s) ended=$(date +%s)
{filing.make(source)}
cp "$W/proof/manifest" "$X$W/proof"; touch -r . "$X{filing.root}"
"""
    call = f"( {manifest_sh.compare_call(source)}\n)"
    found = records(filing.run(body + call))
    numbers, shown = found["differ missing"]
    assert numbers == [1000] and 100 < len(shown) <= 200 and sum(map(len, shown)) < 65_000
    assert found["compared"][0] == [1001, 1]


def content(filing: Filing) -> dict[bytes, bytes]:
    """Of each file in the manifest its hash."""
    found = [record.split(b" ", 7) for record in filing.manifest()]
    return {parts[7].removeprefix(f"{filing.root}/".encode()): parts[0] for parts in found}


def test_only_what_is_new_or_was_changed_is_read_again(filing: Filing) -> None:
    source = filing.source()
    make = filing.make(source)
    filing.run(
        f"cd {filing.root}; echo 1 >kept; ln kept link; echo 1 >changed; echo 1 >gone; sleep 3.1; {make}"
    )
    first = content(filing)
    # What is known is believed: with a hash that is wrong for all, it shows.
    lie = """
tr -d '\\n' <"$W/cache/hashes" | sed -z 's/ .*/ %s/' >"$T/lie"
cat "$T/lie" >"$W/cache/hashes"; cksum <"$T/lie" >"$W/cache/sum"
""" % ("0" * 64)
    filing.run(f"{lie} cd {filing.root}; echo 2 >changed; rm gone; : >new; {make}")
    second = content(filing)
    assert second[b"kept"] == second[b"link"] == b"0" * 64
    assert second[b"changed"] not in (first[b"changed"], b"0" * 64)
    assert second[b"new"] == EMPTY.encode() and b"gone" not in second
    # `gone` is forgotten; what was written just now is not believed next time.
    assert filing.says("tr '\\0' '\\n' <\"$W/cache/hashes\" | wc -l") == "1"
    assert filing.says('ls "$W"').split() == ["cache", "proof"]


DAMAGE = [
    'truncate -s -30 "$W/cache/hashes"',
    'truncate -s 0 "$W/cache/hashes"',
    'printf %s x | dd of="$W/cache/hashes" bs=1 seek=90 conv=notrunc 2>/dev/null',
    'rm "$W/cache/sum"',
    'rm "$W/cache/hashes"',
]


def test_a_damaged_memory_is_none(filing: Filing) -> None:
    make = filing.make(filing.source())
    filing.run(f"cd {filing.root}; echo 1 >one; echo 2 >two; sleep 3.1; {make}")
    before = filing.manifest()
    for damage in DAMAGE:
        filing.run(f"{damage}; {make}")
        assert filing.manifest() == before, damage
        kept = filing.says("tr '\\0' '\\n' <\"$W/cache/hashes\" | grep -c ' [0-9a-f]\\{64\\}$'")
        assert kept == "2", damage


@pytest.mark.parametrize("tool", ["openssl", "sha256sum"])
def test_what_cannot_be_read_has_no_hash_and_no_other_has_its(filing: Filing, tool: str) -> None:
    odd = "; ".join(f"echo {number} >{octal(name)}" for number, name in enumerate(NAMES))
    if tool == "sha256sum":
        filing.prelude = "openssl() { false; }"
    # Some go between the look at them and the reading of them.
    gone = " ".join(octal(name) for name in (NAMES[0], NAMES[2], NAMES[8], NAMES[13]))
    work = f"""
cd {filing.root}; {odd}; W=$W X= work=$W/work ours=$S xdev= looked=$(date +%s); mkdir -p "$work"
{manifest_sh.finder([filing.root], None)}
manifest_list "$work/list" && grep -azv '^- ' "$work/list" >"$work/new"; rm -- {gone}
manifest_hash "$work/new" "$work/hashes" && manifest_join "$work/hashes" "$work/list" "$W/proof/manifest"
"""
    filing.run(work)
    found = content(filing)
    expected = filing.says("for n in $(seq 0 15); do echo $n | sha256sum; done").split()[::2]
    for number, name in enumerate(NAMES):
        here = found[name].decode()
        assert here == ("-" * 64 if number in (0, 2, 8, 13) else expected[number]), name


def test_what_is_changed_while_it_is_read_has_no_hash(filing: Filing) -> None:
    # restic, at work by then, may have read it before or after.
    filing.prelude = """digest() {
  each_of openssl dgst -sha256 -r; touch "$T/digested"; echo 2 >changed; touch -d @1000000000 changed
}"""
    names = "changed same 'also the same'"
    filing.run(f'cd {filing.root}; for each in {names}; do echo 1 >"$each"; done; sleep 3.1\n')
    filing.run(
        f"cd {filing.root}; {filing.make(filing.source())}[ -e $T/listed ] && [ -e $T/digested ]"
    )
    found = content(filing)
    assert found.pop(b"changed") == b"-" * 64
    assert found[b"same"] == found[b"also the same"] != b"-" * 64
    # Nor is it believed next time.
    filing.prelude = ""
    filing.run(f"cd {filing.root}; {filing.make(filing.source())}")
    again = content(filing)
    assert again.pop(b"changed") not in (b"-" * 64, found[b"same"]) and again == found


def test_who_is_not_root_marks_what_they_cannot_read(filing: Filing) -> None:
    source = filing.source()
    files = "echo 1 >mine; echo 2 >not; chmod 600 not; : >z; chown -R 65534 $S $T .; chown 0 not"
    filing.run(f"cd {filing.root}; {files}")
    script = filing.script(manifest_sh.make_call(source))
    filing.run(
        f"cat >$T/script <<'EOF'\n{script}\nEOF\nsetpriv --reuid 65534 --clear-groups sh $T/script"
    )
    found = content(filing)
    assert (
        found[b"not"] == b"-" * 64
        and found[b"z"] == EMPTY.encode()
        and found[b"mine"] != found[b"z"]
    )
    assert filing.says("tr '\\0' '\\n' <\"$W/cache/hashes\" | wc -l") == "0", "all is too new"


def test_a_root_may_be_a_file_or_a_symlink(filing: Filing) -> None:
    roots = [f"{filing.root}/file", f"{filing.root}/link", f"{filing.root}/folder"]
    source = FilesSource.model_validate({"files": roots})
    filing.run(
        f"cd {filing.root}; echo 1 >file; mkdir folder; ln -s folder link; echo 1 >folder/a; echo 1 >b\n"
        + filing.make(source)
        + filing.back_up(source)
        + filing.restore()
    )
    assert filing.listed() == filing.taken(roots) and len(filing.listed()) == 4
    found = records(filing.run("began=0 ended=0\n" + filing.compare(source)))
    assert found["compared"][0] == [4, 4]


@BOTH
def test_the_proof_is_kept_whatever_is_left_out(filing: Filing) -> None:
    # Our own state is below what is backed up, and below what is left out of that.
    filing.prelude = f"S={filing.root}/var/'li[b$]' W=$S/backup/shop/files; mkdir -p $W/proof"
    source = filing.source(exclude=["var", "proof", "backup", "files", "!file"])
    body = f"cd {filing.root}; echo 1 >file; sleep 3.1; began=$(date +%s)\n"
    body += filing.make(source) + filing.back_up(source) + filing.restore()
    found = records(filing.run(body + "ended=$(date +%s)\n" + filing.compare(source)))
    assert found["compared"][0] == [2, 2] and "lost" in found and len(found) == 2


def test_what_would_not_be_backed_up_is_a_failure(filing: Filing) -> None:
    missing = FilesSource.model_validate({"files": [filing.root, f"{filing.folder}/it's"]})
    said = filing.fails(manifest_sh.make_call(missing))
    assert said.startswith(f"{filing.folder}/it's is not there, so it cannot be backed up")
    said = filing.fails(manifest_sh.make_call(filing.source(exclude=["root"])))
    assert said.startswith("nothing would be backed up")
    call = manifest_sh.compare_call(filing.source())
    assert filing.fails(f"began=0 ended=0\n{call}").startswith("the snapshot holds no manifest")


def test_a_full_disk_is_a_failure_and_leaves_the_last_manifest(filing: Filing) -> None:
    call = manifest_sh.make_call(filing.source())
    filing.run(
        f'cd {filing.root}; seq 500 | xargs touch; mkdir -p "$S"; mount -t tmpfs -o size=600k none "$S"'
    )
    try:
        filing.run(f'mkdir -p "$W/proof"; {filing.make(filing.source())}')
        assert len(filing.manifest()) == 501
        filing.run(f"cd {filing.root}; seq 501 3500 | xargs touch")
        said = filing.fails(call)
        assert "No space left on device" in said and "well" not in said
        assert len(filing.manifest()) == 501 and filing.says('ls "$W"').split() == [
            "cache",
            "proof",
        ]
    finally:
        filing.run('cd /; umount "$S"')


@BOTH
def test_one_file_system_is_what_restic_takes_for_one(filing: Filing) -> None:
    source = filing.source(one_file_system=True)
    filing.run(
        f"cd {filing.root}; mkdir -p on/deep other; echo 1 >file; echo 1 >on/deep/a; echo 2 >under\n"
        "mount -t tmpfs none other; echo 3 >other/b; mkdir other/c; mount --bind other/b under"
    )
    try:
        filing.run(filing.make(source) + filing.back_up(source))
        assert filing.listed() == filing.taken(source.files)
        assert len(filing.listed()) == 6
        filing.run(filing.make(filing.source()))
        assert len(filing.listed()) == 9
    finally:
        filing.run(f"cd /; umount {filing.root}/under; umount {filing.root}/other")
