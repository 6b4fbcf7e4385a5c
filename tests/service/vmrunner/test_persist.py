"""The disk for /persist: of one account, kept over boots, taken over from a folder of bootserver."""

from __future__ import annotations

import subprocess

ALICE = {"owner": "alice", "owner_account": "a1", "persist_bytes": 64 * 10**6}


def files(platform):
    return sorted(path.name for path in (platform.state_folder / "5/persist").glob("*"))


def content(platform, name, account="alice~a1"):
    disk = platform.state_folder / f"5/persist/{account}.raw"
    argv = ["debugfs", "-R", f"cat {name}", str(disk)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def former_folder(platform):
    folder = platform.state_folder.parent / "bootserver/persist/5/alice~a1"
    folder.mkdir(parents=True)
    (folder / "file").write_text("kept")
    platform.bootserver.persist_folder = "5/alice~a1"


def test_each_account_has_a_disk_that_goes_with_the_node(platform):
    platform.boot(**ALICE)
    assert "serial=walt-persist" in " ".join(platform.argv())
    assert platform.call("persist_bytes", node_id=5) == {}
    platform.boot(boot=2, owner_account="a2")
    assert files(platform) == ["alice~a1.raw", "alice~a2.raw"]
    platform.put(power="absent")
    platform.wait(lambda: platform.nodes.removed == [5], "removed")
    assert not (platform.state_folder / "5").exists()


def test_a_folder_is_copied_once_and_dropped_when_it_is_on_the_disk(platform):
    former_folder(platform)
    platform.boot(**ALICE)
    assert "walt-boot: copying /persist from its folder" in platform.shown()
    assert content(platform, "file") == "kept" and platform.bootserver.dropped == [(5, "alice", "a1")]
    assert "alice" in platform.call("persist_bytes", node_id=5)


def test_a_folder_that_is_not_here_is_no_reason_for_an_empty_disk(platform):
    platform.bootserver.persist_folder = "5/alice~a1"
    platform.put(**ALICE)
    assert "which this host does not have (WALT_PERSIST_FOLDERS)" in platform.wait_state("failed").reason
    assert files(platform) == [] and platform.bootserver.dropped == []


def test_beside_a_bootserver_of_the_version_before_nothing_is_taken_over(platform):
    former_folder(platform)
    platform.bootserver.persist_folder = None
    platform.boot(**ALICE)
    assert files(platform) == [] and platform.bootserver.dropped == []
    assert "walt-persist" not in " ".join(platform.argv())
