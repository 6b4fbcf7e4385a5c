"""The changes of a real overlay make a new image, and nothing of the node or of this host gets into it."""

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from services.bootserver import platform_block
from services.bootserver.boot import boot_script
from services.bootserver.boot.boot_script import SeedKeys
from services.bootserver.site import make_site
from services.bootserver.workers import apply_overlay
from tests.service.images.overlay import Tar, add_gnu_tar, make_changes, make_image, manifest
from tests.service.images.saving import REQUEST
from walt.contracts import file_attributes
from walt.contracts.bootserver import BootInterface
from walt.contracts.errors import InvalidRequest

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")  # CAP_NET_RAW


def test_image_is_what_the_node_saw_and_its_base_is_untouched(overlay):
    before = manifest(overlay / "base")
    tree = overlay / "tree"
    apply_overlay.build(overlay / "base", overlay / "changes.tar", tree)
    assert manifest(tree) == manifest(overlay / "merged")
    assert (tree / "mnt/stays").exists()
    assert manifest(overlay / "base") == before
    assert (tree / "etc/hard").stat().st_ino == (tree / "etc/motd").stat().st_ino
    assert (tree / "bin/busybox").stat().st_ino == (overlay / "base/bin/busybox").stat().st_ino


def test_nothing_that_makes_it_that_node_is_in_the_image(overlay):
    tree = overlay / "anonymous"
    apply_overlay.build(overlay / "base", overlay / "changes.tar", tree)
    for path in ("etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/machine-id", "etc/ssh/ssh_host_ed25519_key",
                 "tmp/x", "run/x", "persist", ".walt", "proc/x"):  # fmt: skip
        assert not os.path.lexists(tree / path), path


def test_fault_b6_lines_of_the_user_are_in_the_image(overlay):
    """And those of the platform are not, in the file that has both."""
    tree = overlay / "with-lines"
    apply_overlay.build(overlay / "base", overlay / "changes.tar", tree)
    file = tree / "root/.ssh/authorized_keys"
    assert file.read_text() == platform_block.block("") + "ssh-ed25519 AAAA of-the-user\n"
    assert file.lstat().st_mode & 0o777 == 0o644


def test_attributes_of_users_and_capabilities_are_in_the_image(as_root, tmp_path):
    """Of what the node has changed, where it has GNU tar."""
    make_image(tmp_path / "base")
    add_gnu_tar(tmp_path / "base")
    tool, folder = "usr/bin/tool", "srv"
    os.setxattr(tmp_path / "base" / tool, file_attributes.CAPABILITY, CAPABILITY)
    for path in (tool, folder):
        os.setxattr(tmp_path / "base" / path, "user.note", b"x")
    make_changes(tmp_path, f"chmod 0711 /{tool} /{folder}")
    with tarfile.open(tmp_path / "changes.tar") as tar:
        keywords = {keyword for member in tar for keyword in member.pax_headers if "xattr" in keyword}
    assert keywords == {"SCHILY.xattr.user.note", "SCHILY.xattr.security.capability"}
    apply_overlay.build(tmp_path / "base", tmp_path / "changes.tar", tmp_path / "tree")
    found = tmp_path / "tree" / tool
    assert found.stat().st_mode & 0o777 == 0o711
    assert (os.getxattr(found, file_attributes.CAPABILITY), os.getxattr(found, "user.note")) == (CAPABILITY, b"x")
    assert os.listxattr(tmp_path / "tree" / folder) == ["user.note"]


def test_other_attributes_of_a_node_are_left_out(as_root, tmp_path):
    (tmp_path / "base/srv").mkdir(parents=True)
    os.setxattr(tmp_path / "base/srv", "user.former", b"x")
    tar = Tar(tmp_path / "changes.tar")
    headers = {f"SCHILY.xattr.{name}": "y" for name in ("user.note", "trusted.overlay.opaque", "security.selinux")}
    for path, kind in (("srv", tarfile.DIRTYPE), ("new", tarfile.DIRTYPE), ("new/file", tarfile.REGTYPE)):
        tar.add(f"changes/{path}", type=kind, mode=0o755, pax_headers=headers)
    apply_overlay.build(tmp_path / "base", tar.write(b"./srv\0./new\0./new/file\0"), tmp_path / "tree")
    for path in ("srv", "new", "new/file"):
        assert os.listxattr(tmp_path / "tree" / path) == ["user.note"]


def test_a_link_in_place_of_a_shared_file_is_not_followed(tmp_path):
    (tmp_path / "outside").write_text("192.168.172.10 vnode1\n")
    (tmp_path / "base").mkdir()
    tar = Tar(tmp_path / "changes.tar")
    tar.add("changes/etc/hosts", type=tarfile.SYMTYPE, linkname=str(tmp_path / "outside"))
    tar.add("changes/root/.ssh", type=tarfile.SYMTYPE, linkname=str(tmp_path))
    apply_overlay.build(tmp_path / "base", tar.write(b"."), tmp_path / "tree")
    assert (tmp_path / "tree/etc/hosts").is_symlink()
    assert (tmp_path / "outside").read_text() == "192.168.172.10 vnode1\n"


def test_all_of_the_seed_is_the_nodes_own():
    seed = boot_script.seed(
        replace(REQUEST, machine_id="5" * 32, interfaces=(BootInterface(3, "net", ("10.64.0.1/24",)),)),
        SeedKeys("a", "b", "c"),
        make_site("192.168.172.0/22", 80),
    )
    with tarfile.open(fileobj=io.BytesIO(seed)) as tar:
        files = [Path(member.name) for member in tar if member.isfile()]
    own = [one for one in files if str(one) not in platform_block.FILES]
    assert Path("etc/machine-id") in own and all(map(apply_overlay.belongs_to_node, own))


@pytest.mark.parametrize(
    "members",
    [
        [("changes/../../outside/file", {})],
        [("changes/a/../../../outside/file", {})],
        [("changes/way", {"type": tarfile.SYMTYPE, "linkname": "OUTSIDE"}), ("changes/way/file", {})],
        [("changes/stolen", {"type": tarfile.LNKTYPE, "linkname": "changes/../../outside/secret"})],
        [
            ("changes/way", {"type": tarfile.SYMTYPE, "linkname": "OUTSIDE"}),
            ("changes/stolen", {"type": tarfile.LNKTYPE, "linkname": "changes/way/secret"}),
        ],
    ],
)
def test_no_path_leads_out_of_the_image(tmp_path, members):
    outside, base = tmp_path / "outside", tmp_path / "base"
    outside.mkdir()
    base.mkdir()
    (outside / "secret").write_text("secret")
    tar = Tar(tmp_path / "changes.tar")
    for name, attributes in members:
        attributes = {**attributes, "linkname": attributes.get("linkname", "").replace("OUTSIDE", str(outside))}
        tar.add(name, b"" if "type" in attributes else b"evil", **attributes)
    with pytest.raises(InvalidRequest, match="the changes of the node"):
        apply_overlay.build(base, tar.write(), tmp_path / "tree")
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").stat().st_nlink == 1


def test_listing_cannot_delete_outside(tmp_path):
    outside, base = tmp_path / "outside", tmp_path / "base"
    outside.mkdir()
    base.mkdir()
    (outside / "file").write_text("x")
    (base / "way").symlink_to(outside)
    apply_overlay.build(base, Tar(tmp_path / "1.tar").write(b"./way\0./way/\0"), tmp_path / "tree")
    with pytest.raises(InvalidRequest, match="below its root"):
        apply_overlay.build(base, Tar(tmp_path / "2.tar").write(b"../outside\0"), tmp_path / "other")
    assert (outside / "file").exists()
