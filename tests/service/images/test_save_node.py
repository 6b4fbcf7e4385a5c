"""Saving a node as an image: names, folders, failures and leftovers."""

from __future__ import annotations

import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from services.bootserver.boot.boot_records import BootRecord, BootRecordStore
from services.bootserver.boot.boots import BootReports, Boots, BootStores, Probes
from services.bootserver.boot.ssh_keys import KeyStore
from services.bootserver.images import save_node
from services.bootserver.images.image_names import ImageName
from services.bootserver.persist.persist_store import PersistStore
from services.bootserver.site import make_site
from tests.service.images.overlay import Tar
from tests.service.images.saving import REQUEST, TARGET
from tests.support.image_tree import VERSION
from walt.contracts.errors import Conflict, Denied, Failed, NotFound, NotOwner
from walt.contracts.vmrunner import BOOTING


def test_saved_image_can_be_booted_by_its_owner(saving):
    view = saving.save("exp1")
    assert (view.name, view.owner, view.kernel) == ("alice/exp1", "alice", VERSION)
    image = saving.images.resolve("exp1", "alice")
    assert (image.tree / "etc/motd").read_text() == "new\n"
    assert saving.images.boot_files(image).kernel == saving.images.boot_files(saving.images.find("default")).kernel
    assert saving.images.names_for("alice") == ["default", "alice/exp1"]
    assert saving.images.names_for("bob") == ["default"]
    with pytest.raises(NotFound, match="no image 'exp1'; there are: default"):
        saving.images.resolve("exp1", "bob")
    with pytest.raises(Denied):
        saving.images.resolve("alice/exp1", "bob")
    assert (saving.folder / "images/users").stat().st_mode & 0o777 == 0o700
    saving.restart()
    assert saving.images.resolve("exp1", "alice") == image
    assert saving.images.boot_file(saving.images.boot_files(image).initrd).exists()


def test_what_cannot_be_saved(saving):
    with pytest.raises(NotOwner):
        saving.save("exp1", user="bob")
    saving.target = replace(TARGET, state=BOOTING)
    with pytest.raises(Conflict, match="vnode1 is booting; allowed: to save a node that is booted"):
        saving.save("exp1")
    saving.target = TARGET
    saving.save("exp1")
    with pytest.raises(Conflict, match="'alice/exp1' is there already; allowed: another name, or --force"):
        saving.save("exp1")
    assert len(saving.users_folders()) == 1


def test_force_replaces_but_a_running_node_keeps_its_folder(saving):
    saving.save("exp1")
    old = saving.images.resolve("exp1", "alice")
    saving.node.running = BootRecord(replace(REQUEST, image="alice/exp1"), 1.0, 2.0, old.folder)
    saving.save("exp1", force=True)
    new = saving.images.resolve("exp1", "alice")
    assert new.folder != old.folder and old.tree.exists()
    kernel = saving.images.boot_files(new).kernel
    saving.node.running = BootRecord(REQUEST, 3.0, 4.0, new.folder)
    saving.staging.remove_orphans()
    assert not old.tree.exists() and new.tree.exists()
    assert saving.images.boot_file(kernel).exists()
    assert len(list((saving.folder / "cache/users").glob(f"{Path(old.folder).name}*"))) == 0


def test_image_that_is_read_is_kept(saving, monkeypatch):
    saving.save("exp1")
    base = saving.images.resolve("exp1", "alice")
    saving.node.running = BootRecord(replace(REQUEST, image="alice/exp1"), 1.0, 2.0, base.folder)
    run_worker = save_node.run_worker

    def after_a_while(*arguments, **options):
        """The node boots another image meanwhile, and nothing else has this one any more."""
        saving.node.running = BootRecord(REQUEST, 3.0, 4.0, "base")
        saving.images.records.remove(ImageName("alice", "exp1"))
        saving.staging.remove_orphans()
        run_worker(*arguments, **options)

    monkeypatch.setattr(save_node, "run_worker", after_a_while)
    saving.save("exp2")
    assert (saving.images.resolve("exp2", "alice").tree / "usr/bin/tool").exists()
    saving.staging.remove_orphans()
    assert not base.tree.exists()


def test_image_that_is_replaced_while_a_node_begins_to_boot_it_is_not_what_it_boots(saving, tmp_path):
    saving.save("exp1")

    def while_the_disk_server_is_asked():
        saving.save("exp1", force=True)
        return ""

    probes = Probes(
        while_the_disk_server_is_asked, lambda: "", lambda: "", lambda address: False, lambda address: False
    )
    state = tmp_path / "state"
    stores = BootStores(saving.images, BootRecordStore(state), KeyStore(state), PersistStore(state))
    real = Boots(make_site("192.168.172.0/22", 80), stores, probes, BootReports(print, lambda event: True))
    real.publish(replace(REQUEST, image="alice/exp1", owner="alice", owner_account="alice01", is_virtual=False))
    real.stop()
    assert (saving.images.folder / stores.records.get(7).folder / "etc/motd").exists()


def test_failed_save_is_no_image_and_leaves_nothing(saving, monkeypatch):
    def cut_off(source, folder):
        (folder / "changes.tar").write_bytes(saving.tar.read_bytes()[:3000])

    def rebooted(source, folder):
        shutil.copy(saving.tar, folder / "changes.tar")
        saving.node.running = BootRecord(replace(REQUEST, run=4), 1.0, 2.0, "base")

    for fetch, error in ((cut_off, Failed), (rebooted, Conflict)):
        monkeypatch.setattr(save_node, "fetch", fetch)
        with pytest.raises(error, match="vnode1"):
            saving.save("exp1")
        assert saving.users_folders() == []
        assert saving.images.names_for("alice") == ["default"]


def test_image_without_a_kernel_is_none(saving):
    tar = Tar(saving.folder / "no-kernel.tar")
    tar.add(f"changes/boot/vmlinuz-{VERSION}", type=tarfile.CHRTYPE)
    saving.tar = tar.write()
    with pytest.raises(Failed, match="alice/exp1.*holds no boot/vmlinuz"):
        saving.save("exp1")
    assert saving.users_folders() == []


def test_two_commands_do_not_make_one_image(saving):
    with saving.staging.lock(ImageName("alice", "exp1")):
        with pytest.raises(Conflict, match="another command is at work on image 'alice/exp1'"):
            saving.save("exp1")
        saving.save("exp2")
    saving.save("exp1")


def test_leftovers_of_a_kill_are_removed(saving):
    saving.save("exp1")
    kept = saving.users_folders()
    for left in (".new-abc/tree/etc", "0123abcd/etc"):
        (saving.folder / "images/users" / left).mkdir(parents=True)
    saving.restart()
    saving.staging.remove_orphans()
    assert saving.users_folders() == kept
    assert (saving.folder / "images/base/etc").exists()
