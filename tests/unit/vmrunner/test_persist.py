"""/persist of a node: a file system for each owner, by account, that grows and is taken over from folders (real
tools)."""

import os
import subprocess
from dataclasses import astuple

import pytest

from services.vmrunner.disks import persist
from services.vmrunner.disks.persist import PersistDiskStore
from services.vmrunner.disks.trash import Trash
from walt.contracts.errors import Failed, InvalidRequest
from walt.contracts.nodes import Owner

NODE = 5
MB = 10**6
ALICE = Owner("alice", "a1")
LATER_ALICE = Owner("alice", "a2")
UID = 65534

pytestmark = pytest.mark.usefixtures("as_root")


@pytest.fixture
def store(tmp_path):
    return PersistDiskStore(tmp_path, UID, Trash(tmp_path / "trash", 3600))


def path_of(tmp_path, owner=ALICE):
    return tmp_path / f"{NODE}/persist/{owner.name}~{owner.account}.raw"


def debugfs(path, request, *options):
    return subprocess.run(
        ["debugfs", *options, "-R", request, str(path)], capture_output=True, text=True, check=True
    ).stdout


def write(path, name, text="kept"):
    source = path.parent / "source"
    source.write_text(text)
    debugfs(path, f"write {source} {name}", "-w")
    source.unlink()


def is_sound(path):
    return subprocess.run(["e2fsck", "-fn", str(path)], capture_output=True, check=False).returncode == 0


def test_a_new_one_is_sparse_sound_empty_and_nobody_elses(store, tmp_path):
    assert not store.exists(NODE, ALICE)
    store.make(NODE, ALICE, 1000 * MB)
    path = store.grow(NODE, ALICE, 1000 * MB, UID).path
    assert path == path_of(tmp_path) and store.exists(NODE, ALICE) and is_sound(path)
    status = path.stat()
    assert (status.st_mode & 0o777, status.st_uid, path.parent.stat().st_mode & 0o777) == (0o600, 0, 0o700)
    assert status.st_size >= 1000 * MB and store.disk_bytes(NODE) < 2 * MB
    assert store.bytes_used(NODE) == {} and [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_later_account_of_the_same_name_gets_an_empty_one_and_the_formers_stays(store, tmp_path):
    store.make(NODE, ALICE, 64 * MB)
    write(path_of(tmp_path), "secret")
    assert not store.exists(NODE, LATER_ALICE)
    store.make(NODE, LATER_ALICE, 64 * MB)
    assert "secret" not in debugfs(path_of(tmp_path, LATER_ALICE), "ls -l /")
    assert debugfs(path_of(tmp_path), "cat secret") == "kept"
    assert list(store.bytes_used(NODE)) == ["alice"]


def test_it_grows_without_loss_and_never_shrinks(store, tmp_path):
    store.make(NODE, ALICE, 64 * MB)
    path = path_of(tmp_path)
    write(path, "file")
    assert store.grow(NODE, ALICE, 2000 * MB, UID).fault == ""
    assert is_sound(path) and debugfs(path, "cat file") == "kept"
    blocks = [line for line in debugfs(path, "show_super_stats -h").splitlines() if line.startswith("Block count")]
    assert int(blocks[0].split()[-1]) * 4096 == path.stat().st_size >= 2000 * MB
    assert path.stat().st_uid == 0
    store.grow(NODE, ALICE, 64 * MB, UID)
    assert path.stat().st_size >= 2000 * MB and is_sound(path)


def test_a_growth_that_was_interrupted_is_made_good(store, tmp_path):
    store.make(NODE, ALICE, 64 * MB)
    os.truncate(path_of(tmp_path), 128 * 2**20)  # and then vmrunner was killed
    store.grow(NODE, ALICE, 128 * 2**20, UID)
    assert f"{128 * 2**20 // 4096}" in debugfs(path_of(tmp_path), "show_super_stats -h")


@pytest.mark.parametrize("content", [b"\0" * 8192, os.urandom(8192)])
def test_what_the_guest_has_made_of_it_is_left_alone(store, tmp_path, content):
    store.make(NODE, ALICE, 64 * MB)
    with path_of(tmp_path).open("r+b") as file:
        file.write(content)
    path, fault = astuple(store.grow(NODE, ALICE, 128 * MB, UID))
    assert fault and path.read_bytes()[: len(content)] == content and path.stat().st_uid == 0
    assert list(store.bytes_used(NODE)) == ["alice"]  # when in doubt


def test_the_tools_that_read_what_a_guest_wrote_have_no_rights(store, tmp_path, monkeypatch):
    tools = tmp_path / "tools"
    tools.mkdir()
    tools.chmod(0o755)
    tmp_path.chmod(0o711)
    for parent in list(tmp_path.parents)[:2]:
        parent.chmod(0o711)
    seen = tools / "seen"
    seen.touch()
    seen.chmod(0o666)
    for tool in ("e2fsck", "resize2fs"):
        (tools / tool).write_text(f"#!/bin/sh\nid -u >>{seen}\ngrep -h CapEff /proc/self/status >>{seen}\n")
        (tools / tool).chmod(0o755)
    store.make(NODE, ALICE, 64 * MB)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    store.grow(NODE, ALICE, 128 * MB, UID)
    store.bytes_used(NODE)
    assert seen.read_text().split() == [str(UID), "CapEff:", "0" * 16] * 3


def test_files_show_though_they_are_in_the_journal_alone(store, tmp_path, monkeypatch):
    """Whether it holds files is asked of a copy, after its journal was played back."""
    ran = []
    real = persist.subprocesses.run

    def run(argv, **options):
        ran.append([word for word in argv if word in ("cp", "e2fsck", "resize2fs")])
        return real(argv, **options)

    store.make(NODE, ALICE, 64 * MB)
    monkeypatch.setattr(persist.subprocesses, "run", run)
    before = path_of(tmp_path).read_bytes()
    assert store.bytes_used(NODE) == {}
    assert ran == [["cp"], ["e2fsck"]] and path_of(tmp_path).read_bytes() == before


def test_folder_of_a_version_before_is_taken_over_whole(store, tmp_path):
    folder = tmp_path / "folder"
    (folder / "dir").mkdir(parents=True)
    (folder / "dir/file").write_text("kept")
    (folder / "link").symlink_to("dir/file")
    os.chown(folder / "dir/file", 1000, 1001)
    (folder / "dir/file").chmod(0o4750)
    with (folder / "large").open("wb") as large:
        large.write(os.urandom(20 * MB))
    store.make(NODE, ALICE, 64 * MB, folder)
    path = store.grow(NODE, ALICE, 64 * MB, UID).path
    assert path.stat().st_size > 20 * MB and is_sound(path)
    assert debugfs(path, "cat dir/file") == "kept"
    shown = debugfs(path, "stat dir/file")
    assert "Mode:  04750" in shown and "User:  1000   Group:  1001" in shown
    assert 'Fast link dest: "dir/file"' in debugfs(path, "stat link")
    assert store.bytes_used(NODE)["alice"] > 20 * MB


def test_many_small_files_are_taken_over(store, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(3000):
        (folder / str(number)).touch()
    store.make(NODE, ALICE, 64 * MB, folder)
    assert is_sound(path_of(tmp_path)) and "2999" in debugfs(path_of(tmp_path), "ls /")


def test_taking_over_that_ends_early_leaves_nothing_and_is_done_again(store, tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_text("kept")
    path = path_of(tmp_path)
    path.parent.mkdir(parents=True)
    (path.parent / f".{path.name}").write_bytes(b"half of it")  # of a vmrunner that was killed

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as once:
        once.setattr(persist.os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            store.make(NODE, ALICE, 64 * MB, folder)
    assert not store.exists(NODE, ALICE) and list(path.parent.iterdir()) == []
    store.make(NODE, ALICE, 64 * MB, folder)
    assert debugfs(path, "cat file") == "kept" and (folder / "file").exists()


def test_drafts_of_a_crash_are_removed(store, tmp_path):
    store.make(NODE, ALICE, 64 * MB)
    (path_of(tmp_path).parent / ".look-1").touch()
    store.remove_drafts(NODE)
    assert [one.name for one in path_of(tmp_path).parent.iterdir()] == [path_of(tmp_path).name]
    store.remove_drafts(77)


@pytest.mark.parametrize("owner", [Owner("..", "a1"), Owner("a/b", "a1"), Owner("alice", "../x"), Owner("alice", "")])
def test_no_other_path_is_made_of_an_owner(store, tmp_path, owner):
    with pytest.raises((Failed, InvalidRequest)):
        store.make(NODE, owner, 64 * MB)
    assert [one.name for one in tmp_path.iterdir()] == ["trash"]


def test_with_its_node_it_goes_to_the_trash_and_comes_back_to_another(store, tmp_path):
    """What is empty is not kept. What it replaces goes to the trash in its turn."""
    trash = Trash(tmp_path / "trash", 3600)
    store.make(NODE, ALICE, 20 * MB)
    write(path_of(tmp_path), "notes")
    store.make(NODE, LATER_ALICE, 20 * MB)
    store.discard(NODE, "vnode1")
    (kept,) = trash.disks()
    assert (kept.node, kept.owner, kept.owner_account, kept.number) == ("vnode1", "alice", "a1", 0)
    assert not list((tmp_path / f"{NODE}/persist").iterdir())

    store.make(NODE, ALICE, 20 * MB)
    write(path_of(tmp_path), "newer")
    store.take_back(NODE, ALICE, "vnode2")
    assert "newer" in debugfs(path_of(tmp_path), "ls"), "nothing is kept for this node"
    trash.claim(kept.id, NODE, "a2")
    store.take_back(NODE, ALICE, "vnode2")
    assert "newer" in debugfs(path_of(tmp_path), "ls"), "it is kept for another owner of this node"
    trash.claim(kept.id, NODE, "a1")
    store.take_back(NODE, ALICE, "vnode2")
    assert "notes" in debugfs(path_of(tmp_path), "ls") and is_sound(path_of(tmp_path))
    assert [disk.node for disk in trash.disks()] == ["vnode2"]
