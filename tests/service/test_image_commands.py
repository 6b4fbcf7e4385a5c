"""`walt image …` from the command line to the folders of bootserver, over a real RabbitMQ: images made of a tar, a folder
and the Docker Engine, their files, names and ends. No machine; nodes is a list that the test gives."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from nameko.containers import ServiceContainer

from cli.client import Client
from cli.commands import run
from cli.configuration import Configuration
from services.bootserver import initrd, kernels, workshop
from services.bootserver.library import RECORDS
from services.bootserver.service import BootServer
from services.contracts import nodes, wire
from services.contracts.errors import Conflict, NotFound
from services.contracts.nodes import NodeWanted
from services.kit.entrypoints import internal
from tests.compose import engine

VERSION = "6.1-test"
LINUX = b"\0" * 0x202 + b"HdrS" + b"\0" * 8 + (0x100).to_bytes(2, "little")
NODE = NodeWanted(
    7, "vnode1", "lab", "alice", nodes.POWER_ON, 1, 1, "default", "192.168.172.9", 4, 2**29, 0, 180, 9, ()
)


class Nodes:
    name = nodes.SERVICE
    wanted: list[NodeWanted] = []

    @internal
    def wanted_everywhere(self):
        return wire.dump_all(self.wanted)


def make_kernel(tree: Path, version: str, name: str = "") -> None:
    home = tree / "lib/modules" / version
    home.mkdir(parents=True)
    (tree / "boot").mkdir(exist_ok=True)
    (tree / "boot" / (name or f"vmlinuz-{version}")).write_bytes(
        LINUX.ljust(0x300, b"\0") + version.encode() + b" (x)\0"
    )
    (home / "modules.dep").write_text("".join(f"{one}.ko:\n" for one in initrd.MODULES))
    (home / "modules.builtin").write_text("")
    for one in initrd.MODULES:
        (home / f"{one}.ko").write_bytes(one.encode())


@pytest.fixture(scope="module")
def platform(as_root, amqp_uri, tmp_path_factory):
    """bootserver, on a folder of images that has one of the platform's."""
    place = Path(tmp_path_factory.mktemp("platform"))
    make_kernel(place / "images/tiny-1", VERSION)
    (place / "images/tiny-1/etc").mkdir()
    (place / "images/tiny-1/etc/motd").write_text("welcome\n")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (
            ("IMAGES_DIR", place / "images"), ("PLATFORM_IMAGES", "default=tiny-1"), ("STATE_DIR", place / "state"),
            ("SUBNET", "127.0.0.0/8"), ("HTTP_ADDRESS", "127.0.0.1:18083"),
        ):  # fmt: skip
            patch.setenv(f"WALT_{name}", str(value))
        config = {"AMQP_URI": amqp_uri, "WEB_SERVER_ADDRESS": "127.0.0.1:18083"}
        containers = [ServiceContainer(one, config) for one in (Nodes, BootServer)]
        for container in containers:
            container.start()
        yield place
        for container in containers:
            container.stop()


@pytest.fixture
def walt(platform, user_uri, capsys):
    """walt("image …") of alice, or of another: exit code, stdout, stderr."""
    Nodes.wanted = []
    clients = {}

    def walt(line, user="alice"):
        client = clients.setdefault(user, Client(lambda: configuration(user_uri(user))))
        status = run(line.split(), client)
        said = capsys.readouterr()
        return status, said.out, said.err

    yield walt
    for user in clients:
        for row in images(walt, user):
            if row["owner"]:
                assert walt(f"image remove {row['name']} --force", user)[0] == 0
    for client in clients.values():
        client.close()
    assert folders_of_users(platform) == []
    assert list((platform / "state/bootserver/transfers").iterdir()) == []


def configuration(uri):
    parts = urlsplit(uri)
    broker = f"{parts.hostname}:{parts.port}"
    return Configuration(parts.username, parts.password, broker, parts.path[1:], Path("/nowhere"))


def images(walt, user="alice"):
    return json.loads(walt("image show -o json", user)[1])


def folders_of_users(platform):
    """Whole or not."""
    return [path.name for path in (platform / "images/users").iterdir() if path.name != RECORDS]


def tree_of(platform, name, user="alice"):
    record = json.loads((platform / f"images/users/.records/{user}/{name}.json").read_text())
    return platform / "images" / record["folder"]


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


# Import


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
        said = subprocess.run(["chroot", str(tree), "/usr/lib/walt/ssh-server", "-V"], capture_output=True, text=True)
        assert "Dropbear" in said.stderr + said.stdout


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


def test_kernel_that_cannot_boot_here_is_said_and_replaced(walt, system):
    (system / "usr/lib").mkdir()
    make_kernel(system, "9.9-odd")
    (system / "usr/lib/modules/9.9-odd/modules.dep").write_text("ext4.ko:\n")
    status, _, err = walt(f"image import {system} odd")
    assert status == 0 and "9.9-odd cannot boot here: the kernel has no module virtio_pci" in err
    assert [row["kernel"] for row in images(walt) if row["owner"]] == [f"{VERSION} (platform's)"]


def hostile_tar(path, *members):
    with tarfile.open(path, "w") as tar:
        for name, attributes in members:
            member = tarfile.TarInfo(name)
            content = attributes.pop("content", b"")
            member.size = len(content)
            for attribute, value in attributes.items():
                setattr(member, attribute, value)
            tar.addfile(member, io.BytesIO(content))
    return path


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
    assert kernels.find(tmp_path / "tree") is None
    make_kernel(tmp_path / "tree", "2")
    (tmp_path / "tree/lib/modules/2/ext4.ko").unlink()
    (tmp_path / "tree/lib/modules/2/ext4.ko").symlink_to(tmp_path / "secret")
    kernel = kernels.find(tmp_path / "tree")
    assert "ext4.ko is missing" in kernels.fault(tmp_path / "tree", kernel)


def test_what_is_no_image_is_refused_and_leaves_nothing(walt, tmp_path, system):
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


def test_image_of_that_name_is_replaced_only_by_force(walt, platform, system):
    assert walt(f"image import {system} one")[0] == 0
    first = tree_of(platform, "one")
    status, _, err = walt(f"image import {system} one")
    assert status == 4 and "'alice/one' is there already; allowed: another name, or --force" in err
    Nodes.wanted = [replace(NODE, image="alice/one")]
    status, _, err = walt(f"image import {system} one --force")
    assert status == 0 and "vnode1 use it as it was until: walt node reboot vnode1" in err
    assert tree_of(platform, "one") != first and not first.exists()
    Nodes.wanted = []


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


def test_upload_that_is_not_kept_up_ends(walt, platform, monkeypatch, user_uri):
    client = Client(lambda: configuration(user_uri("alice")))
    what = {"purpose": "import", "image": "late"}
    for _ in range(4):
        upload = client.call("bootserver", "open_upload", **what)
    with pytest.raises(Conflict, match="4 transfers of yours are under way.*not kept up ends after 10 min"):
        client.call("bootserver", "open_upload", **what)
    assert len(list((platform / "state/bootserver/transfers").iterdir())) == 4
    for file in (platform / "state/bootserver/transfers").iterdir():
        os.utime(file, (0, 0))
    client.call("bootserver", "close_transfer", transfer=client.call("bootserver", "open_upload", **what))
    with pytest.raises(NotFound, match="is not known any more"):
        client.call("bootserver", "finish_upload", upload=upload)
    client.close()


# Names


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


def test_number_of_images_has_a_limit(walt, monkeypatch):
    monkeypatch.setattr(workshop, "IMAGES_PER_USER", 2)
    assert walt("image clone default one")[0] == walt("image clone one two")[0] == 0
    status, _, err = walt("image clone one three")
    assert status == 4 and "you have 2 images besides 'alice/three'; allowed: 2" in err
    assert walt("image clone one two --force")[0] == walt("image rename two three")[0] == 0
    assert walt("image clone default one", "bob")[0] == 0


def test_image_that_a_node_uses_stays(walt):
    walt("image clone default mine")
    Nodes.wanted = [replace(NODE, image="alice/mine"), replace(NODE, id=8, name="vnode2", image="alice/mine")]
    for line, what in (("remove mine --force", "removed"), ("rename mine other", "renamed")):
        status, _, err = walt(f"image {line}")
        assert status == 4
        assert f"image 'alice/mine' is used by vnode1, vnode2 and cannot be {what}" in err
    Nodes.wanted = []
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


# Files


def test_files_in_and_out(walt, platform, tmp_path, monkeypatch):
    walt("image clone default mine")
    folder = tmp_path / "here/folder"
    folder.mkdir(parents=True)
    (folder / "big").write_bytes(os.urandom(3_000_001))
    os.link(folder / "big", folder / "twin")
    (folder / "link").symlink_to("/etc/motd")
    (tmp_path / "motd").write_text("changed\n")
    (tmp_path / "motd").chmod(0o600)
    assert walt(f"image cp {folder} mine:/etc")[0] == 0
    assert walt(f"image cp {tmp_path}/motd mine:/etc/motd")[0] == 0
    tree = tree_of(platform, "mine")
    assert (platform / "images/tiny-1/etc/motd").read_text() == "welcome\n"
    assert (tree / "etc/motd").read_text() == "changed\n" and (tree / "etc/motd").stat().st_mode & 0o777 == 0o600
    assert (tree / "etc/folder/big").samefile(tree / "etc/folder/twin")
    assert walt(f"image cp alice/mine:/etc/folder {tmp_path}/back")[0] == 0
    assert (tmp_path / "back/big").read_bytes() == (folder / "big").read_bytes()
    assert os.readlink(tmp_path / "back/link") == "/etc/motd"
    assert walt(f"image cp default:/etc/motd {tmp_path}/motd")[0] == 0
    assert (tmp_path / "motd").read_text() == "welcome\n"


def test_copies_that_cannot_be(walt, platform, tmp_path):
    walt("image clone default mine")
    (tmp_path / "file").write_text("x")
    (tmp_path / "etc").mkdir()
    before = tree_of(platform, "mine")
    for line, status, why in (
        (f"{tmp_path}/file mine:/none/file", 3, "no directory '/none' in the image"),
        (f"{tmp_path}/file mine:/none/", 3, "'/none/' is not there"),
        (f"{tmp_path}/etc mine:/etc/motd/", 3, "is not a directory"),
        (f"{tmp_path}/etc/ mine:/etc/motd", 2, "'/etc/motd' is not a directory in the image"),
        (f"{tmp_path}/none mine:/etc", 3, "there is no file"),
        (f"mine:/none {tmp_path}", 3, "there is no file '/none' in the image"),
        (f"{tmp_path}/file {tmp_path}/other", 2, "has to be IMAGE:PATH"),
    ):
        got, _, err = walt(f"image cp {line}")
        assert (got, why in err) == (status, True), (line, got, err)
    assert tree_of(platform, "mine") == before


# Docker


@pytest.fixture
def docker(require, monkeypatch):
    found, why = engine.find()
    require("docker", not why, why)
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run(["docker", "image", "inspect", "debian:bookworm-slim"], capture_output=True, text=True)
    require("docker", done.returncode == 0, done.stderr)


def is_in_engine(image):
    return subprocess.run(["docker", "image", "inspect", image], capture_output=True).returncode == 0


def test_image_of_the_docker_engine(walt, platform, docker, tmp_path):
    status, _, err = walt("image import debian:bookworm-slim")
    assert status == 0 and "brings no kernel" in err, err
    tree = tree_of(platform, "debian-bookworm-slim")
    assert (tree / "etc/debian_version").exists() and (tree / f"lib/modules/{VERSION}").exists()
    assert not (tree / ".dockerenv").exists()
    status, _, err = walt("image import no-such-image.invalid/x:y")
    assert status == 3 and "'no-such-image.invalid/x:y'" in err, err
    (tmp_path / "Dockerfile").write_text("FROM debian:bookworm-slim\nCOPY hell* /etc/\nRUN echo built > /etc/built\n")
    (tmp_path / "hello").write_text("hello\n")
    (tmp_path / "hell-secret").write_text("secret\n")
    (tmp_path / ".dockerignore").write_text("*-secret\n")
    status, _, err = walt(f"image build {tmp_path} built")
    assert status == 0, err
    assert [(tree_of(platform, "built") / f"etc/{one}").read_text() for one in ("hello", "built")] == [
        "hello\n",
        "built\n",
    ]
    assert not (tree_of(platform, "built") / "etc/hell-secret").exists()
    (tmp_path / "Dockerfile").write_text("FROM debian:bookworm-slim\nRUN touch /one\nRUN echo so it goes; exit 3\n")
    status, _, err = walt(f"image build {tmp_path} failed")
    assert status == 2 and "so it goes" in err and "returned a non-zero code: 3" in err, err
    left = subprocess.run(["docker", "ps", "-aq", "--filter", "label=walt.temporary"], capture_output=True, text=True)
    assert left.stdout == ""
    layers = re.findall("---> ([0-9a-f]{12})", err)
    assert len(layers) > 1 and [layer for layer in layers if is_in_engine(layer)] == layers[:1]


def test_without_an_engine_docker_is_refused_and_the_rest_is_named(walt, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    status, _, err = walt("image import debian:bookworm-slim")
    assert status == 1 and "answers on the server (unix:///nowhere/docker.sock: No such file or directory)" in err
    assert "FILE.tar" in err
