"""Disks of nodes: which tools make a template, and the files they make (with the real tools, no root tricks)."""

import json
import subprocess

import pytest

from services.vmrunner.disks import templates
from services.vmrunner.disks.store import DiskStore
from services.vmrunner.disks.trash import Trash
from walt.contracts.disks import EXT4, FAT32, HYBRID_PERSISTENT, HYBRID_VOLATILE, NO_TEMPLATE, TEMPLATES
from walt.contracts.errors import Failed
from walt.contracts.nodes import Disk, Owner

NODE = 5
ALICE = Owner("alice", "a1")
MB = 10**6
TB = 10**12


@pytest.fixture
def store(tmp_path):
    return DiskStore(tmp_path, Trash(tmp_path / "trash", 3600))


def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def debugfs(path, request):
    return run("debugfs", "-R", request, f"{path}?offset={templates.START_BYTES}")


def table(path):
    return json.loads(run("sfdisk", "--json", str(path)))["partitiontable"]


def test_no_template_needs_no_tool():
    assert templates.creation_commands(NO_TEMPLATE, "d", 10**6, "c") == []
    assert templates.file_bytes(10**6) == 1_000_448


def test_the_tools_of_a_template():
    first, make = templates.creation_commands(HYBRID_PERSISTENT, "d", 300 * MB, "c")
    assert first.argv == ("sfdisk", "--quiet", "d")
    assert first.stdin.startswith("label: gpt\nstart=2048, size=581632, type=0FC63DAF")
    assert make.argv[-2:] == ("d", f"{284 * 1024}k") and make.argv[7:9] == ("-d", "c")
    assert "offset=1048576," in make.argv[-3]
    _, make, give_back = templates.creation_commands(FAT32, "d", 64 * MB, "c")
    assert make.argv[-2:] == ("d", str(59 * 1024)) and give_back.argv[0] == "fallocate"


@pytest.mark.parametrize("name", [NO_TEMPLATE, EXT4, FAT32])
def test_smallest_and_largest_disk_of_each_template(store, name):
    template = TEMPLATES[name]
    disks = [Disk(1, template.smallest, name), Disk(2, template.largest, name)]
    for disk, path in zip(disks, store.prepare(NODE, disks, ALICE), strict=True):
        assert path.stat().st_size == templates.file_bytes(disk.size_bytes)
        assert path.stat().st_mode & 0o777 == 0o600
        if name != NO_TEMPLATE:
            (partition,) = table(path)["partitions"]
            end = (partition["start"] + partition["size"]) * 512
            assert partition["start"] == 2048 and 0 < disk.size_bytes - end <= 2 * templates.END_BYTES
    small, large = store.data(NODE)
    assert not small.written and not large.written
    assert small.used_bytes < 2 * 2**20 and large.used_bytes < 256 * 2**20


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (EXT4, set()),
        (HYBRID_VOLATILE, {"walt_hybrid"}),
        (HYBRID_PERSISTENT, {"walt_hybrid", "walt_hybrid/.persistent"}),
    ],
)
def test_what_an_ext4_disk_holds(store, name, found):
    (path,) = store.prepare(NODE, [Disk(1, 256 * MB, name)], ALICE)
    listed = {one.split()[-1] for one in debugfs(path, "ls -l /").splitlines() if one} - {".", "..", "lost+found"}
    inside = {one.split()[-1] for one in debugfs(path, "ls -l /walt_hybrid").splitlines() if one} - {".", ".."}
    assert listed | {f"walt_hybrid/{one}" for one in inside} == found
    assert f"Filesystem volume name:   {templates.LABELS[name]}" in debugfs(path, "show_super_stats -h")
    start = templates.START_BYTES
    run("e2fsck", "-fn", f"{path}?offset={start}")


def test_fat32_is_one(store):
    (path,) = store.prepare(NODE, [Disk(1, 64 * MB, FAT32)], ALICE)
    with path.open("rb") as file:
        file.seek(templates.START_BYTES)
        boot_sector = file.read(512)
    assert boot_sector[82:90] == b"FAT32   " and boot_sector[71:82].strip() == b"WALT-FAT32"


def test_fault_10_growth_keeps_everything(store):
    disk = Disk(1, 64 * MB, EXT4)
    (path,) = store.prepare(NODE, [disk], ALICE)
    before = path.read_bytes()
    assert store.prepare(NODE, [disk], ALICE) == [path] and path.read_bytes() == before
    store.prepare(NODE, [Disk(1, 3 * TB, EXT4)], ALICE)
    assert path.stat().st_size == 3 * TB
    assert table(path)["lastlba"] == 3 * TB // 512 - 34
    with path.open("rb") as file:
        assert file.read(60 * MB)[templates.START_BYTES :] == before[templates.START_BYTES : 60 * MB]
    assert not store.data(NODE)[0].written
    with pytest.raises(Failed, match=r"disk vda \(64M, template ext4\): its file is longer .* never shortened"):
        store.prepare(NODE, [disk], ALICE)


@pytest.mark.parametrize("content", [b"\0" * 4096, b"my own file system" * 100])
def test_growth_leaves_what_the_guest_has_made_of_the_disk(store, content):
    (path,) = store.prepare(NODE, [Disk(1, 64 * MB, EXT4)], ALICE)
    with path.open("r+b") as file:
        file.write(content)
    store.prepare(NODE, [Disk(1, 128 * MB, EXT4)], ALICE)
    with path.open("rb") as file:
        assert file.read(len(content)) == content
    assert path.stat().st_size == 128 * MB and store.data(NODE)[0].written


def test_writing_is_noticed_and_so_it_stays(store):
    disks = [Disk(1, 10 * MB, NO_TEMPLATE), Disk(2, 16 * MB, EXT4)]
    paths = store.prepare(NODE, disks, ALICE)
    with paths[0].open("r+b") as file:
        file.write(b"x" * 8192)
    assert [one.written for one in store.data(NODE)] == [True, False]
    assert store.data(NODE)[0].used_bytes == 8192
    store.prepare(NODE, [Disk(1, 20 * MB, NO_TEMPLATE), disks[1]], ALICE)
    assert [one.written for one in store.data(NODE)] == [True, False]
    paths[1].with_suffix(".json").unlink()
    assert store.data(NODE)[1].written  # when in doubt


def test_fault_10_a_disk_is_its_id_not_its_place(store):
    first, second, between = Disk(1, MB, NO_TEMPLATE), Disk(2, MB, NO_TEMPLATE), Disk(3, MB, NO_TEMPLATE)
    paths = store.prepare(NODE, [first, second], ALICE)
    paths[1].write_bytes(b"second" + paths[1].read_bytes()[6:])
    again = store.prepare(NODE, [first, between, second], ALICE)
    assert again[2].read_bytes().startswith(b"second") and not again[1].read_bytes().strip(b"\0")


def test_fault_11_what_is_not_wanted_is_gone(store, tmp_path):
    kept, dropped = Disk(1, MB, NO_TEMPLATE), Disk(2, 16 * MB, EXT4)
    store.prepare(NODE, [kept, dropped], ALICE)
    (tmp_path / f"{NODE}/disks/.3.raw").write_text("left by a crash")
    (tmp_path / f"{NODE}/disks/.content-x/lost+found").mkdir(parents=True)
    store.keep_only(NODE, [kept], "vnode1")
    assert {path.name for path in (tmp_path / f"{NODE}/disks").iterdir()} == {"1.raw", "1.json"}
    assert store.has_any(NODE)
    store.keep_only(NODE, [], "vnode1")
    assert not store.has_any(NODE) and store.data(NODE) == []
    assert not store.has_any(77) and store.data(77) == []


def test_the_tool_of_a_process_that_was_killed_writes_in_no_disk(store, tmp_path, monkeypatch):
    """It goes on in the draft that it has open; nothing of either making is outside of the node's folder."""
    folder = tmp_path / f"{NODE}/disks"
    folder.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with (folder / ".1.raw").open("wb") as left:
        (path,) = store.prepare(NODE, [Disk(1, 32 * MB, EXT4)], ALICE)
        made = path.read_bytes()
        left.write(b"half a file system")
    assert path.read_bytes() == made


@pytest.mark.parametrize("tool", ["sfdisk", "mke2fs"])
def test_fault_10_a_tool_that_fails_is_named_with_its_words_and_leaves_nothing(store, tmp_path, monkeypatch, tool):
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / tool).write_text("#!/bin/sh\necho no luck today >&2\nexit 3\n")
    (tools / tool).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    with pytest.raises(Failed, match=rf"disk vdb \(32M, template ext4\): {tool} .*: status 3: no luck today"):
        store.prepare(NODE, [Disk(1, MB, NO_TEMPLATE), Disk(2, 32 * MB, EXT4)], ALICE)
    assert {path.name for path in (tmp_path / f"{NODE}/disks").iterdir()} == {"1.raw", "1.json"}
    monkeypatch.undo()
    assert len(store.prepare(NODE, [Disk(1, MB, NO_TEMPLATE), Disk(2, 32 * MB, EXT4)], ALICE)) == 2


def test_a_file_that_the_server_cannot_hold(store, monkeypatch):
    def refuse(descriptor, length):
        raise OSError(27, "File too large")

    monkeypatch.setattr("services.vmrunner.disks.store.os.ftruncate", refuse)
    with pytest.raises(Failed, match="disk vda .*File too large"):
        store.prepare(NODE, [Disk(1, TB, NO_TEMPLATE)], ALICE)
    assert store.data(NODE) == []


def test_what_the_next_boot_discards_is_no_data(store):
    disks = [Disk(1, 64 * MB, HYBRID_VOLATILE), Disk(2, 64 * MB, HYBRID_PERSISTENT)]
    for path in store.prepare(NODE, disks, ALICE):
        with path.open("r+b") as file:
            file.seek(32 * MB)
            file.write(b"x")
    assert [one.written for one in store.data(NODE)] == [False, True]
