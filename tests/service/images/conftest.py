"""A bootserver for each module, with one image of the platform; users who have no image before and after each test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.tree import run
from services.bootserver.images import save_node
from tests.service.bootserver.world import SERVER, Bootserver
from tests.service.images.overlay import NODE_AT_WORK, make_changes, make_image, manifest
from tests.service.images.saving import Saving
from tests.service.images.world import configuration, folders_of_users, images
from tests.support.fakes.fake_service import serving
from tests.support.fakes.nodes import FakeNodes
from tests.support.image_tree import make_kernel
from walt.client import Client
from walt.contracts.limits import UNLIMITED


@pytest.fixture(scope="module")
def peer(amqp_uri: str) -> Iterator[FakeNodes]:
    nodes = FakeNodes()
    with serving(amqp_uri, nodes):
        yield nodes


@pytest.fixture
def nodes_service(peer: FakeNodes) -> FakeNodes:
    """Without any node or account."""
    peer.specs.clear()
    peer.accounts.clear()
    peer.administrators.clear()
    peer.limits = UNLIMITED
    return peer


@pytest.fixture(scope="module")
def platform(as_root, amqp_uri, peer, tmp_path_factory):
    """bootserver, on a folder of images that has one of the platform's."""
    folder = Path(tmp_path_factory.mktemp("platform"))
    make_kernel(folder / "images/tiny-1")
    (folder / "images/tiny-1/etc").mkdir()
    (folder / "images/tiny-1/etc/motd").write_text("welcome\n")
    server = Bootserver(amqp_uri)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (
            ("IMAGES_DIR", folder / "images"), ("PLATFORM_IMAGES", "default=tiny-1"), ("STATE_DIR", folder / "state"),
            ("IMAGE_SOURCES", "library,no-such-image.invalid,build"),
            ("RUN_DIR", folder / "run"), ("SUBNET", "127.0.0.0/8"), ("HTTP_ADDRESS", f"{SERVER}:{server.port}"),
        ):  # fmt: skip
            patch.setenv(f"WALT_{name}", str(value))
        server.start()
        yield folder
        server.stop()


@pytest.fixture
def walt(platform, nodes_service, user_uri, capsys):
    """walt("image …") of alice, or of another: exit code, stdout, stderr."""
    clients = {}

    def walt(line, user="alice"):
        client = clients.setdefault(user, Client(lambda: configuration(user_uri(user))))
        status = run(line.split(), client)
        output = capsys.readouterr()
        return status, output.out, output.err

    yield walt
    for user in clients:
        for row in images(walt, user):
            if row["owner"]:
                assert walt(f"image remove {row['name']} --force", user)[0] == 0
    for client in clients.values():
        client.close()
    assert folders_of_users(platform) == []
    assert list((platform / "state/bootserver/transfers").iterdir()) == []


@pytest.fixture
def system(tmp_path):
    """The root of a system without a kernel, as a container has it."""
    tree = tmp_path / "Tiny.root"
    for folder in ("bin", "etc", "usr"):
        (tree / folder).mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin/busybox")
    (tree / "bin/sh").symlink_to("busybox")
    (tree / "lib").symlink_to("usr/lib")
    (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (tree / "etc/passwd").chmod(0o640)
    os.chown(tree / "etc/passwd", 0, 42)
    return tree


@pytest.fixture(scope="module")
def overlay(as_root, tmp_path_factory):
    """A folder with `base`, `changes.tar` as a node sends it, and `merged`: the root as the node sees it."""
    folder = Path(tmp_path_factory.mktemp("overlay"))
    make_image(folder / "base")
    before = manifest(folder / "base")
    make_changes(folder, NODE_AT_WORK)
    assert manifest(folder / "base") == before
    return folder


@pytest.fixture
def saving(overlay, tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    shutil.copytree(overlay / "base", tmp_path / "images/base", symlinks=True)
    saving = Saving(tmp_path, overlay / "changes.tar")
    monkeypatch.setattr(save_node, "fetch", lambda source, folder: saving.fetch(source, folder))
    return saving
