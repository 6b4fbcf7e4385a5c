"""The root of an image as one file: the same tree gives the same bytes, and every attribute of a file is in it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from services.bootserver.image_kernel import root_file
from services.bootserver.workers import pack_root
from walt.contracts.errors import Failed

CAPABILITY = "security.capability"
NET_RAW = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw+ep, as setcap stores it


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin/ping").write_bytes(b"program" * 1000)
    (tree / "bin/ping").chmod(0o755)
    (tree / "bin/link").symlink_to("ping")
    os.utime(tree / "bin/ping", (1_000_000_000, 1_000_000_000))
    return tree


def digest(root_format: str, tree: Path, target: Path) -> str:
    digest = pack_root.pack(root_format, tree, target)
    assert target.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in target.parent.iterdir() if "partial" in path.name] == []
    return digest


def test_the_same_tree_gives_the_same_erofs(tree: Path, tmp_path: Path) -> None:
    first = digest("erofs", tree, tmp_path / "a.erofs")
    shutil.copytree(tree, tmp_path / "copy", symlinks=True)
    assert digest("erofs", tmp_path / "copy", tmp_path / "b.erofs") == first
    (tmp_path / "copy/bin/ping").write_bytes(b"another")
    assert digest("erofs", tmp_path / "copy", tmp_path / "c.erofs") != first


def test_an_erofs_keeps_times_and_capabilities(tree: Path, tmp_path: Path) -> None:
    os.setxattr(tree / "bin/ping", "user.origin", b"tests")
    if os.geteuid() == 0:
        os.setxattr(tree / "bin/ping", CAPABILITY, NET_RAW)
    digest("erofs", tree, tmp_path / "root.erofs")
    dump = ["dump.erofs", "--path=/bin/ping", str(tmp_path / "root.erofs")]
    printed = subprocess.run(dump, capture_output=True, text=True, check=True).stdout
    assert "Xattr size: 0" not in printed and "2001-09-09" in printed


def test_a_kernel_without_erofs_gets_an_ext4(tree: Path, tmp_path: Path) -> None:
    assert root_file.format_of(["ext4", "overlay"]) == "ext4" and root_file.format_of(["erofs", "ext4"]) == "erofs"
    digest("ext4", tree, tmp_path / "root.ext4")
    listing = ["debugfs", "-R", "ls -p /bin", str(tmp_path / "root.ext4")]
    assert "/ping/" in subprocess.run(listing, capture_output=True, text=True, check=True).stdout
    subprocess.run(["e2fsck", "-fn", str(tmp_path / "root.ext4")], capture_output=True, check=True)


def test_a_tree_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="mkfs.erofs"):
        pack_root.pack("erofs", tmp_path / "none", tmp_path / "root.erofs")
    assert list(tmp_path.iterdir()) == []
