"""`walt image import`: images made of a tar or a folder, and what is refused."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from dataclasses import replace

import pytest

from services.bootserver.image_kernel import kernel_image
from tests.service.images.world import NODE, configuration, hostile_tar, images, tree_of
from tests.support.image_tree import VERSION, make_kernel
from walt.client import Client
from walt.contracts.errors import Conflict, NotFound


@pytest.mark.parametrize("form", ["", "tar.gz", "tar.bz2", "tar.xz", "tar.zst"])
def test_root_without_a_kernel_gets_what_it_lacks(walt, platform, system, form):
    source = system
    if form:
        source = system.with_name(f"{system.name}.{form}")
        subprocess.run(["tar", "-caf", str(source), "-C", str(system), "."], check=True)
    status, out, err = walt(f"image import {source}")
    assert (status, out) == (0, ""), err
    assert f"brings no kernel: it boots with the platform's {VERSION}" in err
    assert "has no init: it starts with the platform's minimal init and ssh server" in err
    assert [(row["name"], row["kernel"]) for row in images(walt) if row["owner"]] == [
        ("alice/tiny.root", f"{VERSION} (platform's)")
    ]
    tree, lender = tree_of(platform, "tiny.root"), platform / "images/tiny-1"
    passwd = (tree / "etc/passwd").stat()
    assert (passwd.st_mode & 0o777, passwd.st_gid) == (0o640, 42)
    assert (tree / f"boot/vmlinuz-{VERSION}").samefile(lender / f"boot/vmlinuz-{VERSION}")
    assert (tree / f"usr/lib/modules/{VERSION}/modules.dep").samefile(lender / f"lib/modules/{VERSION}/modules.dep")
    assert os.readlink(tree / "sbin/init") == "/usr/lib/walt/init"
    assert os.readlink(tree / "usr/bin/ip") == "/usr/lib/walt/busybox"
    assert not (tree / "usr/bin/vi").is_symlink() and (tree / "usr/lib/walt/bin/vi").is_symlink()
    if shutil.which("chroot"):
        done = subprocess.run(["chroot", str(tree), "/usr/lib/walt/ssh-server", "-V"], capture_output=True, text=True)
        assert "Dropbear" in done.stderr + done.stdout


def test_image_with_its_own_kernel_and_init_stays_as_it_is(walt, platform, system):
    (system / "usr/lib").mkdir()
    make_kernel(system, "6.9-old")
    make_kernel(system, "6.10-own", name="vmlinuz-virt")
    (system / "sbin").mkdir()
    (system / "usr/sbin").mkdir()
    for program in ("sbin/init", "usr/sbin/sshd"):
        (system / program).write_text("#!/bin/sh\n")
        (system / program).chmod(0o755)
    status, _, err = walt(f"image import {system} own")
    assert status == 0 and "it " not in err, err
    (view,) = [row for row in images(walt) if row["owner"]]
    assert view["kernel"] == "6.10-own"
    assert list((tree_of(platform, "own") / "usr/lib/walt").iterdir()) == []


def test_kernel_that_cannot_boot_is_reported_and_replaced(walt, system):
    (system / "usr/lib").mkdir()
    make_kernel(system, "9.9-odd")
    (system / "usr/lib/modules/9.9-odd/modules.dep").write_text("ext4.ko:\n")
    status, _, err = walt(f"image import {system} odd")
    assert status == 0 and "9.9-odd cannot boot here: the kernel has no module virtio_pci" in err
    assert [row["kernel"] for row in images(walt) if row["owner"]] == [f"{VERSION} (platform's)"]


def test_no_path_of_a_tar_leads_out_of_its_image(walt, platform, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    link = {"type": tarfile.SYMTYPE}
    tar = hostile_tar(
        tmp_path / "evil.tar",
        ("bin", {"type": tarfile.DIRTYPE, "mode": 0o755}),
        ("way", link | {"linkname": str(outside)}),
        ("way/evil", {"content": b"x"}),
        ("lib", link | {"linkname": f"/../../../../..{outside}"}),
        ("sbin", link | {"linkname": str(outside)}),
        ("boot", link | {"linkname": str(outside)}),
        ("usr/lib/walt", link | {"linkname": str(outside)}),
    )
    walt(f"image import {tar} evil")
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "secret"


def test_kernel_and_modules_are_read_inside_the_image_only(tmp_path):
    make_kernel(tmp_path / "tree", "1")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "tree/boot/vmlinuz-1").unlink()
    (tmp_path / "tree/boot/vmlinuz-1").symlink_to(tmp_path / "secret")
    assert kernel_image.find(tmp_path / "tree") is None
    make_kernel(tmp_path / "tree", "2")
    (tmp_path / "tree/lib/modules/2/ext4.ko").unlink()
    (tmp_path / "tree/lib/modules/2/ext4.ko").symlink_to(tmp_path / "secret")
    kernel = kernel_image.find(tmp_path / "tree")
    assert "ext4.ko is missing" in kernel_image.fault(tmp_path / "tree", kernel)


def test_what_is_not_an_image_is_refused_and_leaves_nothing(walt, tmp_path, system):
    (tmp_path / "empty").mkdir()
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved/manifest.json").touch()
    (tmp_path / "not.tar").write_bytes(b"no tar at all" * 100)
    (system / "bin/busybox").write_bytes(b"\x7fELF".ljust(18, b"\0") + (183).to_bytes(2, "little"))
    for line, why in (
        (f"{tmp_path}/empty x", "is not the root of a system"),
        (f"{tmp_path}/saved x", "as 'docker save' writes it; allowed: .* 'docker export'"),
        (f"{tmp_path}/not.tar x", "cannot be unpacked"),
        (f"{system} x", "its /bin/sh is for another processor .ELF machine 183"),
        (f"{system} default", "default is the platform's image"),
        (f"{system} Bad/name", "is not the name of an image|would be"),
        (f"{tmp_path}/nothing.tar", "there is no file"),
        ("no//image^ x", "no//image"),
    ):
        status, _, err = walt(f"image import {line}")
        assert status != 0 and re.search(why, err), (line, err)
    assert [row["name"] for row in images(walt)] == ["default"]


def test_image_of_that_name_is_replaced_only_by_force(walt, platform, system, nodes_service):
    assert walt(f"image import {system} one")[0] == 0
    first = tree_of(platform, "one")
    status, _, err = walt(f"image import {system} one")
    assert status == 4 and "'alice/one' is there already; allowed: another name, or --force" in err
    nodes_service.specs = {7: replace(NODE, image="alice/one")}
    status, _, err = walt(f"image import {system} one --force")
    assert status == 0 and "vnode1 use the former image until: walt node reboot vnode1" in err
    assert tree_of(platform, "one") != first and not first.exists()
    nodes_service.specs.clear()


def test_damaged_image_is_shown_as_that_and_can_be_removed(walt, platform, system):
    assert walt(f"image import {system} hurt")[0] == walt("image clone default whole")[0] == 0
    shutil.rmtree(tree_of(platform, "hurt") / "boot")
    status, out, _ = walt("image show")
    assert status == 0 and re.search("alice/hurt +alice .* none .walt doctor", out) and "alice/whole" in out
    assert walt("image remove hurt --force")[0] == 0
    assert "alice/hurt" not in walt("image show")[1]


def test_folder_by_a_link(walt, system):
    (system.parent / "link").symlink_to(system)
    assert walt(f"image import {system.parent}/link linked")[0] == 0


def test_idle_upload_ends(walt, platform, user_uri):
    client = Client(lambda: configuration(user_uri("alice")))
    upload_of = {"purpose": "import", "image": "late"}
    for _ in range(4):
        upload = client.call("bootserver", "open_upload", **upload_of)
    with pytest.raises(Conflict, match="4 transfers of yours are under way.*an idle one ends after 10 min"):
        client.call("bootserver", "open_upload", **upload_of)
    assert len(list((platform / "state/bootserver/transfers").iterdir())) == 4
    for file in (platform / "state/bootserver/transfers").iterdir():
        os.utime(file, (0, 0))
    client.call("bootserver", "close_transfer", transfer=client.call("bootserver", "open_upload", **upload_of))
    with pytest.raises(NotFound, match="is not known any more"):
        client.call("bootserver", "finish_upload", upload=upload)
