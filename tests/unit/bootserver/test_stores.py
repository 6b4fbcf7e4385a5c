"""Plans and keys survive a restart, images are found or named as missing."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from services.bootserver import health
from services.bootserver.boot import boot_records
from services.bootserver.boot.boot_records import BootRecord, BootRecordStore
from services.bootserver.boot.ssh_keys import KeyStore
from services.bootserver.image_kernel import kernel_image, wished_modules
from services.bootserver.image_kernel.boot_files import BootFiles
from services.bootserver.images import store
from services.bootserver.images.image_records import ImageRecords
from services.bootserver.images.store import ImageStore, parse_platform_images
from tests.support.image_tree import make_kernel
from walt.contracts.bootserver import BootRequest
from walt.contracts.errors import Failed, InvalidRequest, NotFound

REQUEST = BootRequest(7, "vnode1", 3, "52:54:00:00:00:07", "192.168.172.10", "default")


def test_publishing_twice_changes_nothing():
    first = boot_records.record_boot(None, REQUEST, "debian-1", 10.0)
    assert boot_records.record_boot(first, REQUEST, "debian-2", 20.0) is first
    booted = replace(first, booted_at=15.0)
    assert boot_records.record_boot(booted, REQUEST, "debian-2", 20.0) is booted
    again = replace(REQUEST, run=4)
    assert boot_records.record_boot(booted, again, "debian-2", 20.0) == BootRecord(again, 20.0, folder="debian-2")


def test_plans_survive(tmp_path):
    published = BootRecord(REQUEST, 10.0)
    BootRecordStore(tmp_path).put(published)
    again = BootRecordStore(tmp_path)
    assert again.get(7) == published
    assert again.all() == [published]
    again.remove(7)
    again.remove(7)
    with pytest.raises(NotFound, match="7"):
        again.get(7)


def test_only_the_present_boot_ends_and_only_once(tmp_path):
    store = BootRecordStore(tmp_path)
    old, new = BootRecord(REQUEST, 10.0), BootRecord(replace(REQUEST, run=4), 20.0)
    store.put(new)
    assert not store.put_booted(old, 21.0)
    assert store.put_booted(new, 22.0)
    assert not store.put_booted(new, 23.0)
    assert store.get(7).booted_at == 22.0


def test_keys_are_made_once_and_private(tmp_path):
    keys = KeyStore(tmp_path)
    first = keys.node(7)
    assert KeyStore(tmp_path).node(7) == first
    assert first.public.startswith("ssh-ed25519 ") and "OPENSSH PRIVATE KEY" in first.private
    assert (tmp_path / "node-7").stat().st_mode & 0o777 == 0o600
    assert keys.platform() != first
    keys.forget_node(7)
    keys.forget_node(7)
    assert keys.node(7) != first


def test_nodes_that_boot_at_once_get_the_same_platform_key(tmp_path):
    keys = KeyStore(tmp_path)
    found = []
    threads = [threading.Thread(target=lambda: found.append(keys.platform())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [keys.platform()] * 8


def test_platform_images():
    assert parse_platform_images("default=debian-1,small=small-2") == {"default": "debian-1", "small": "small-2"}
    assert parse_platform_images("") == {}
    for bad in ("default", "=x", "default=", "default=../etc", "default=/etc"):
        with pytest.raises(InvalidRequest, match="WALT_PLATFORM_IMAGES"):
            parse_platform_images(bad)


def test_image_is_found_or_named(tmp_path):
    images = ImageStore(tmp_path, {"default": "debian-1"}, ImageRecords(tmp_path, "users"), tmp_path / "cache")
    with pytest.raises(NotFound, match="'other'.*default"):
        images.find("other")
    with pytest.raises(Failed, match="debian-1"):
        images.find("default")
    (tmp_path / "debian-1/boot").mkdir(parents=True)
    (tmp_path / "debian-1/boot/vmlinuz-6.1-a").write_bytes(b"kernel")
    with pytest.raises(Failed, match="no boot/vmlinuz.* with its modules"):
        images.find("default")
    (tmp_path / "debian-1/lib/modules/6.1-a").mkdir(parents=True)
    (tmp_path / "debian-1/lib/modules/6.1-a/modules.dep").touch()
    assert images.view(images.find("default")).kernel == "6.1-a"
    assert images.view(images.find("default")).lacks == wished_modules.WISHED
    assert images.view(images.find("default")).size_bytes >= len(b"kernel")
    with pytest.raises(Failed, match="no initrd for kernel 6.1-a"):
        images.boot_files(images.find("default"))


def test_the_kernel_of_an_image_is_searched_for_once(tmp_path, monkeypatch):
    """Each request of a node needs it, and its image may make the search long."""
    images = ImageStore(tmp_path, {"default": "tiny-1"}, ImageRecords(tmp_path, "users"), tmp_path / "cache")
    make_kernel(tmp_path / "tiny-1")
    found = images.find("default")
    with monkeypatch.context() as patch:
        patch.setattr(kernel_image, "find", lambda tree: None)
        assert images.find("default") == found
    found.kernel.unlink()
    with pytest.raises(Failed, match="no boot/vmlinuz"):
        images.find("default")


def test_files_of_no_size_count(tmp_path):
    """The server's disk has room for so many."""
    images = ImageStore(tmp_path, {"default": "tiny-1"}, ImageRecords(tmp_path, "users"), tmp_path / "cache")
    make_kernel(tmp_path / "tiny-1")
    for number in range(1000):
        (tmp_path / f"tiny-1/{number}").touch()
    assert images.size_bytes(images.find("default")) >= 1000 * store.BYTES_OF_A_FILE


def test_initrd_of_an_image_is_packed_once_for_all_who_wait_for_it(tmp_path, monkeypatch):
    packed = []

    def pack(module, *arguments, on_line, timeout):
        packed.append(module)
        time.sleep(0.1)
        arguments[-1].write_bytes(b"root")
        lines = (
            ("digest of the root",)
            if module == "pack_root"
            else ("digest of the kernel", "digest of the initrd", "erofs")
        )
        for line in lines:
            on_line(line)

    monkeypatch.setattr(store, "run_worker", pack)
    make_kernel(tmp_path / "tiny-1")
    images = ImageStore(tmp_path, {"default": "tiny-1"}, ImageRecords(tmp_path, "users"), tmp_path / "cache")
    image = images.find("default")
    found = []
    threads = [threading.Thread(target=lambda: found.append(images.boot_files(image))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files = BootFiles("digest of the kernel", "digest of the initrd", "digest of the root", "erofs", 4)
    assert found == [files] * 4 and packed == ["pack_initrd", "pack_root"]
    later = ImageStore(tmp_path, {"default": "tiny-1"}, ImageRecords(tmp_path, "users"), tmp_path / "cache")
    assert later.boot_file("digest of the kernel") == image.kernel
    assert later.boot_file("digest of the root").read_bytes() == b"root" and packed == ["pack_initrd", "pack_root"]


def test_several_missing_images_are_one_line():
    faults = {"default": "", "small": "it is missing", "full": "it is missing", "bob/lab": "no kernel", "bob/x": ""}
    checks = health.image_checks(faults, Path("/images"))
    assert [(check.subject, check.status) for check in checks] == [
        ("image default", "ok"),
        ("image bob/x", "ok"),
        ("images small, full", "fail"),
        ("image bob/lab", "fail"),
    ]
    assert "missing in /images" in checks[2].found and checks[3].found == "no kernel"
