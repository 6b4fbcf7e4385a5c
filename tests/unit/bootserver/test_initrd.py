"""Modules are found with all they need; the archive is one that cpio itself reads."""

from __future__ import annotations

import subprocess

import pytest

from services.bootserver.image_kernel import initrd
from services.bootserver.image_kernel.initrd import Index

DEPENDENCIES = """\
kernel/net/virtio_net.ko: kernel/net/failover.ko kernel/virtio/virtio-ring.ko
kernel/net/failover.ko:
kernel/virtio/virtio-ring.ko:
kernel/fs/overlay.ko:
kernel/sound/snd.ko:
"""


def test_modules_come_with_what_they_need_and_nothing_else():
    modules = initrd.resolve(["virtio_net", "overlay"], Index(DEPENDENCIES, ""))
    assert modules.load == ("virtio_net", "overlay")
    assert set(modules.files) == {
        "kernel/net/virtio_net.ko",
        "kernel/net/failover.ko",
        "kernel/virtio/virtio-ring.ko",
        "kernel/fs/overlay.ko",
    }
    assert "kernel/net/virtio_net.ko: kernel/net/failover.ko kernel/virtio/virtio-ring.ko" in modules.lines
    assert "kernel/net/failover.ko:" in modules.lines


def test_dashes_and_underscores_are_one():
    assert initrd.resolve(["virtio_ring"], Index(DEPENDENCIES, "")).files == ("kernel/virtio/virtio-ring.ko",)


def test_module_inside_the_kernel_is_not_loaded():
    assert initrd.resolve(["overlay", "ext4"], Index(DEPENDENCIES, "kernel/fs/ext4/ext4.ko\n")).load == ("overlay",)


def test_missing_module_is_named():
    with pytest.raises(LookupError, match="xfs"):
        initrd.resolve(["overlay", "xfs"], Index(DEPENDENCIES, ""))


def test_cpio_reads_the_archive(tmp_path):
    modules = initrd.resolve(["overlay"], Index(DEPENDENCIES, ""))
    entries = initrd.contents("6.1", modules, {"kernel/fs/overlay.ko": b"module"}, b"busybox", b"#!/bin/sh\n")
    packed = initrd.archive(entries)
    subprocess.run(["cpio", "-idm", "--quiet"], input=packed, cwd=tmp_path, check=True)
    assert (tmp_path / "init").read_bytes() == b"#!/bin/sh\n"
    assert (tmp_path / "init").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "bin/sh").readlink().name == "busybox"
    assert (tmp_path / "lib/modules/6.1/kernel/fs/overlay.ko").read_bytes() == b"module"
    assert (tmp_path / "etc/modules").read_text() == "overlay"


def test_same_entries_give_the_same_bytes():
    entries = [initrd.folder("a"), initrd.file("a/b", b"odd"), initrd.link("c", "a/b")]
    assert initrd.archive(entries) == initrd.archive(entries)
    assert len(initrd.archive(entries)) % 4 == 0


def test_drivers_of_physical_machines_come_where_the_kernel_has_them():
    dependencies = DEPENDENCIES + "kernel/net/igb.ko: kernel/i2c/dca.ko\nkernel/i2c/dca.ko:\n"
    aliases = "# made by depmod\nalias pci:v00008086d00001521* igb\nalias pci:v00001274d00005000* snd\n"
    modules = initrd.resolve(["overlay"], Index(dependencies, "", aliases))
    assert modules.load == ("overlay",)  # a virtual node loads none of them
    assert {"kernel/net/igb.ko", "kernel/i2c/dca.ko"} < set(modules.files)
    assert modules.aliases == ("alias pci:v00008086d00001521* igb",)
    entries = initrd.contents("6.1", modules, dict.fromkeys(modules.files, b""), b"", b"")
    (known,) = [one.content for one in entries if one.path == "lib/modules/6.1/modules.alias"]
    assert known == b"alias pci:v00008086d00001521* igb\n"


def test_what_a_module_wants_before_it_comes_too_by_name_or_alias():
    """As ext4 of Debian's usual kernel wants crc32c, and r8169 the driver of its PHY."""
    dependencies = DEPENDENCIES + (
        "fs/ext4.ko: fs/jbd2.ko\nfs/jbd2.ko:\ncrypto/crc32c-intel.ko: crypto/base.ko\ncrypto/base.ko:\n"
        "crypto/crc32c_generic.ko:\nnet/r8169.ko: net/libphy.ko\nnet/libphy.ko:\nnet/realtek.ko: net/libphy.ko\n"
    )
    aliases = "# made by depmod\nalias crc32c crc32c_intel\nalias crc32c crc32c_generic\nalias crc32c crc32c_inside\n"
    soft = (
        "# made by depmod\nsoftdep ext4 pre: crc32c post: snd\nsoftdep r8169 pre: realtek none\nsoftdep snd pre: snd\n"
    )
    modules = initrd.resolve(["overlay", "ext4"], Index(dependencies, "", aliases, soft))
    assert modules.load == ("overlay", "ext4")
    assert modules.first == ("crc32c_intel", "crc32c_generic")
    assert modules.first_of_drivers == ("realtek",)
    assert {"crypto/base.ko", "crypto/crc32c-intel.ko", "crypto/crc32c_generic.ko"} < set(modules.files)
    assert "kernel/sound/snd.ko" not in modules.files
    assert len(modules.files) == len(set(modules.files)) == len(modules.lines)
    packed = {
        one.path: one.content for one in initrd.contents("6", modules, dict.fromkeys(modules.files, b""), b"", b"")
    }
    assert packed["etc/modules-first"] == b"crc32c_intel crc32c_generic"
    assert packed["etc/drivers-first"] == b"realtek"
