"""`walt image clone, rename, remove`: names, owners and users of images."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

from services.bootserver.images.staging import Staging
from tests.service.images.world import NODE, images, tree_of
from tests.support.amqp_user import AmqpUser
from walt.contracts.limits import UserLimits


def test_clone_rename_remove(walt, platform, system):
    assert walt("image clone default mine")[0] == 0
    assert (tree_of(platform, "mine") / "etc/motd").samefile(platform / "images/tiny-1/etc/motd")
    assert walt("image clone mine other")[0] == 0
    assert tree_of(platform, "mine") == tree_of(platform, "other")
    status, _, err = walt("image clone mine other")
    assert status == 4 and "--force" in err
    assert walt("image rename other third")[0] == 0
    assert walt("image remove mine --force")[0] == 0
    assert tree_of(platform, "third").exists()
    assert [row["name"] for row in images(walt)] == ["default", "alice/third"]


def test_number_of_images_has_a_limit(walt, nodes_service):
    nodes_service.limits = UserLimits(images=2)
    assert walt("image clone default one")[0] == walt("image clone one two")[0] == 0
    status, _, err = walt("image clone one three")
    assert status == 4 and "images: alice has 2 besides 'alice/three'; allowed: 2" in err
    assert walt("image clone one two --force")[0] == walt("image rename two three")[0] == 0
    assert walt("image clone default one", "bob")[0] == 0


def test_space_of_images_has_a_limit(walt, nodes_service, platform):
    assert walt("image clone default one")[0] == 0
    size_bytes = images(walt)[1]["size_bytes"]
    nodes_service.limits = UserLimits(image_bytes=2 * size_bytes)
    assert walt("image clone one two")[0] == 0
    for line in ("clone one three", "clone default three"):
        status, _, err = walt(f"image {line}")
        assert status == 4 and "image.space: the images of alice take" in err
    assert [row["name"] for row in images(walt)] == ["default", "alice/one", "alice/two"]
    assert len(list((platform / "images/users").glob("[0-9a-f]*"))) == 1  # nothing is left of what was refused
    assert walt("image clone one two --force")[0] == walt("image clone default four", "bob")[0] == 0


def test_an_archive_is_unpacked_only_as_far_as_its_user_has_space(walt, nodes_service, platform, system):
    """Zeros, compressed to 10 KB, filled the server's disk while they were unpacked."""
    (system / "zeros").write_bytes(bytes(60_000_000))
    bomb = system.with_name("bomb.tar.xz")
    subprocess.run(["tar", "-caf", str(bomb), "-C", str(system), "."], check=True)
    assert bomb.stat().st_size < 2_000_000
    nodes_service.limits = UserLimits(image_bytes=20_000_000)
    status, _, err = walt(f"image import {bomb} mine")
    assert status == 4 and "what was sent is larger than what image.space has left" in err
    assert len(list((platform / "images/users").glob("[0-9a-f]*"))) == 0
    nodes_service.limits = UserLimits()
    assert walt(f"image import {bomb} mine")[0] == 0


def test_image_that_a_node_uses_stays(walt, nodes_service):
    walt("image clone default mine")
    nodes_service.specs = {
        id: replace(NODE, id=id, name=name, image="alice/mine") for id, name in ((7, "vnode1"), (8, "vnode2"))
    }
    for line, what in (("remove mine --force", "removed"), ("rename mine other", "renamed")):
        status, _, err = walt(f"image {line}")
        assert status == 4
        assert f"image 'alice/mine' is used by vnode1, vnode2 and cannot be {what}" in err
    nodes_service.specs.clear()
    status, _, err = walt("image remove mine")
    assert status == 4 and "would be lost; allowed: --force" in err


def test_images_of_others_and_of_the_platform_are_not_changed(walt, tmp_path):
    (tmp_path / "file").write_text("x")
    walt("image clone default mine")
    for line in (
        "remove alice/mine --force",
        "rename alice/mine x",
        "clone alice/mine x",
        f"cp {tmp_path}/file alice/mine:/",
    ):
        status, _, err = walt(f"image {line}", "bob")
        assert status == 5 and "alice/mine" in err, (line, err)
    for line in ("remove default --force", "rename default x", f"cp {tmp_path}/file default:/etc/"):
        status, _, err = walt(f"image {line}")
        assert status == 5 and "'default' is the platform's; allowed: to change a clone of it" in err, (line, err)
    status, _, err = walt("image remove nothing --force")
    assert status == 3 and "you have no image 'nothing'; you have: alice/mine" in err


def test_fault_s32_image_of_a_former_user_is_an_administrators_to_give_or_remove(walt, nodes_service, platform):
    assert walt("image clone default mine")[0] == walt("image clone default other")[0] == 0
    nodes_service.accounts["alice"] = "616c69636502"
    nodes_service.administrators = {"bob"}
    assert [row["name"] for row in images(walt)] == ["default"]
    assert walt("image clone default mine")[0] == 0, "its name is free"
    assert walt("image show --former")[0] == 5
    rows = json.loads(walt("image show --former -o json", "bob")[1])
    former = [row["name"] for row in rows]
    assert former == ["alice~616c69636501/mine", "alice~616c69636501/other"]
    assert walt(f"image remove {former[1]} --force")[0] == walt(f"image rename {former[0]} mine9")[0] == 5
    assert walt(f"image remove {former[1]} --force", "bob")[0] == 0
    status, _, err = walt(f"image rename {former[0]} nobody/x", "bob")
    assert status == 3 and "no user 'nobody'" in err
    assert walt(f"image rename {former[0]} alice/mine", "bob")[0] == 4, "she has one of that name"
    assert walt(f"image rename {former[0]} alice/back", "bob")[0] == 0
    assert [row["name"] for row in images(walt)] == ["default", "alice/back", "alice/mine"]
    assert json.loads(walt("image show --former -o json", "bob")[1]) == []


def test_fault_s32_job_of_a_former_user_gives_the_next_one_nothing(walt, user_uri, nodes_service, monkeypatch):
    make, next_alice = Staging.copy_tree, AmqpUser(user_uri("alice"))

    def with_a_change(self, image, folder):
        nodes_service.accounts["alice"] = "616c69636502"
        next_alice.call("bootserver.get_images")
        return make(self, image, folder)

    monkeypatch.setattr(Staging, "copy_tree", with_a_change)
    status, _, err = walt("image clone default mine")
    next_alice.close()
    assert status == 5 and "the account of alice has ended meanwhile" in err
    assert [row["name"] for row in images(walt)] == ["default"]
