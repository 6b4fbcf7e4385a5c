"""Saving a node as an image: the changes of a real overlay, fetched by the script that runs in a node, put on top of
hard links to its image; and what becomes of names, folders and leftovers. No machine, and ssh is left out.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from services.bootserver import bootplan, boots, changes, initrd, names, saving
from services.bootserver.bootplan import Keys, Site
from services.bootserver.boots import World
from services.bootserver.catalogue import Catalogue
from services.bootserver.images import ImageStore
from services.bootserver.library import RECORDS, Library
from services.bootserver.names import ImageName
from services.bootserver.plans import Published
from services.bootserver.saving import FETCH, Saver
from services.bootserver.stores import stores
from services.bootserver.workshop import Workshop
from services.contracts import nodes
from services.contracts.bootserver import BootRequest, NodeAccess
from services.contracts.errors import Conflict, Denied, Failed, InvalidRequest, NotFound, NotOwner
from services.contracts.nodes import NodeTarget
from services.contracts.vmrunner import BOOTED, BOOTING

VERSION = "6.1-test"
REQUEST = BootRequest(7, "vnode1", 3, "52:54:00:00:00:07", "192.168.172.10", "default", 4)
TARGET = NodeTarget(7, "vnode1", "alice", "lab", "192.168.172.10", BOOTED)
ACCESS = NodeAccess("192.168.172.10", "root", "key", "ssh-ed25519 AAAA")

# What a node does to its root, as busybox's shell.
NODE_AT_WORK = r"""
set -e
echo new > /etc/motd
rm /etc/gone /etc/goes/too
echo more >> /usr/share/kept
rm -r /usr/share/replaced && mkdir /usr/share/replaced && echo x > /usr/share/replaced/only
rm -r /usr/share/file && echo "no folder any more" > /usr/share/file
rm /usr/share/folder && mkdir -p /usr/share/folder/deep && echo x > /usr/share/folder/deep/er
chmod 4750 /usr/bin/tool && chown 12:34 /usr/bin/tool
chmod 0711 /srv
ln -s /etc/motd /etc/link && ln -s changes/etc/gone /etc/gone-link && ln /etc/motd /etc/hard
mkfifo /srv/pipe
echo x > "/srv/a name
of two lines"
mkdir /opt && mknod /opt/null c 1 3
mkdir -p /root/.ssh /tmp /run /persist /proc /etc/ssh
echo secret > /root/.ssh/authorized_keys
echo secret > /etc/ssh/ssh_host_ed25519_key
for own in etc/hostname etc/hosts etc/resolv.conf tmp/x run/x persist/x proc/x; do echo own > /$own; done
"""
OVERLAY = """
set -e
mount -t tmpfs ram "$1/ram"
mkdir "$1/ram/changes" "$1/ram/work"
mount -t overlay -o "lowerdir=$1/base,upperdir=$1/ram/changes,workdir=$1/ram/work" root "$1/root"
mkdir -p "$1/root/.walt/changes"
mount -o bind "$1/ram/changes" "$1/root/.walt/changes"
chroot "$1/root" /bin/sh -c "$2"
mount -t tmpfs ram "$1/root/mnt" # what is mounted on a folder says nothing of the folder
echo "$3" | chroot "$1/root" /bin/sh -s > "$1/changes.tar"
umount "$1/root/mnt"
cp -a "$1/root/." "$1/merged" 2>/dev/null
"""


def make_image(tree: Path) -> None:
    """A root that can run the script, with a kernel and its modules."""
    home = tree / "lib/modules" / VERSION
    for path in (
        "bin",
        "etc/goes",
        "usr/bin",
        "usr/share/replaced",
        "usr/share/file",
        "srv",
        "mnt",
        "boot",
        "proc",
        home,
    ):
        (tree / path).mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin")
    for applet in ("sh", "mount", "umount", "mkdir", "find", "xargs", "tar", "grep", "rm", "cat", "chmod", "chown", "ln",
                   "mkfifo", "mknod"):  # fmt: skip
        (tree / "bin" / applet).symlink_to("busybox")
    for path in ("etc/gone", "etc/goes/too", "etc/motd", "usr/share/kept", "usr/share/replaced/old", "usr/share/file/x",
                 "usr/share/folder", "usr/bin/tool", "mnt/stays"):  # fmt: skip
        (tree / path).write_text("base\n")
    (tree / f"boot/vmlinuz-{VERSION}").write_bytes(b"kernel")
    (home / "modules.dep").write_text("".join(f"{name}.ko:\n" for name in initrd.MODULES))
    (home / "modules.builtin").write_text("")
    for name in initrd.MODULES:
        (home / f"{name}.ko").write_bytes(name.encode())


def manifest(tree: Path) -> dict[str, tuple[object, ...]]:
    """All that a user could see of a tree, without what is the node's own."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, directories, files in os.walk(tree):
        for name in (*directories, *files):
            path = Path(folder, name)
            relative = path.relative_to(tree)
            if not changes.is_nodes_own(relative):
                seen = path.lstat()
                content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
                found[str(relative)] = (seen.st_mode, seen.st_uid, seen.st_gid, seen.st_rdev, content)
    return found


@pytest.fixture(scope="module")
def overlay(as_root, tmp_path_factory):
    """A folder with `base`, `changes.tar` as a node sends it, and `merged`: the root as the node sees it."""
    place = Path(tmp_path_factory.mktemp("overlay"))
    make_image(place / "base")
    for name in ("ram", "root", "merged"):
        (place / name).mkdir()
    before = manifest(place / "base")
    words = ["unshare", "--mount", "sh", "-c", OVERLAY, "sh", str(place), NODE_AT_WORK, FETCH]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert manifest(place / "base") == before
    return place


def test_image_is_what_the_node_saw_and_its_base_is_untouched(overlay):
    before = manifest(overlay / "base")
    tree = overlay / "tree"
    changes.build(overlay / "base", overlay / "changes.tar", tree)
    assert manifest(tree) == manifest(overlay / "merged")
    assert (tree / "mnt/stays").exists()
    assert manifest(overlay / "base") == before
    assert (tree / "etc/hard").stat().st_ino == (tree / "etc/motd").stat().st_ino
    assert (tree / "bin/busybox").stat().st_ino == (overlay / "base/bin/busybox").stat().st_ino


def test_nothing_that_makes_it_that_node_is_in_the_image(overlay):
    tree = overlay / "anonymous"
    changes.build(overlay / "base", overlay / "changes.tar", tree)
    for path in ("etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/ssh/ssh_host_ed25519_key", "tmp/x", "run/x",
                 "root/.ssh/authorized_keys", "persist", ".walt", "proc/x"):  # fmt: skip
        assert not os.path.lexists(tree / path), path


def test_all_of_the_seed_is_the_nodes_own():
    seed = bootplan.seed(REQUEST, Keys("a", "b", "c"), Site("192.168.172.1", "255.255.252.0", 80))
    with tarfile.open(fileobj=io.BytesIO(seed)) as tar:
        files = [Path(member.name) for member in tar if member.isfile()]
    assert files and all(map(changes.is_nodes_own, files))


@dataclass
class Tar:
    """What a node might send whose user wrote its own `tar`."""

    path: Path
    members: list[tuple[tarfile.TarInfo, bytes]] = field(default_factory=list)

    def add(self, name, content=b"", **attributes):
        member = tarfile.TarInfo(name)
        member.size = len(content)
        for attribute, value in attributes.items():
            setattr(member, attribute, value)
        self.members.append((member, content))

    def write(self, names_=b""):
        with tarfile.open(self.path, "w") as tar:
            for member, content in self.members:
                tar.addfile(member, io.BytesIO(content))
            for listing in (changes.DIRECTORIES, changes.NAMES):
                member = tarfile.TarInfo(listing)
                member.size = len(names_)
                tar.addfile(member, io.BytesIO(names_))
        return self.path


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
        changes.build(base, tar.write(), tmp_path / "tree")
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").stat().st_nlink == 1


def test_listing_cannot_delete_outside(tmp_path):
    outside, base = tmp_path / "outside", tmp_path / "base"
    outside.mkdir()
    base.mkdir()
    (outside / "file").write_text("x")
    (base / "way").symlink_to(outside)
    changes.build(base, Tar(tmp_path / "1.tar").write(b"./way\0./way/\0"), tmp_path / "tree")
    with pytest.raises(InvalidRequest, match="below its root"):
        changes.build(base, Tar(tmp_path / "2.tar").write(b"../outside\0"), tmp_path / "other")
    assert (outside / "file").exists()


# Names


@pytest.mark.parametrize(
    "text", ["", "/", "a/", "/a", "a/b/c", "A", "1a", "a b", "ä", "a" * 64, "../a", "bob/../a", "."]
)
def test_no_names(text):
    with pytest.raises(InvalidRequest, match="is not the name of an image"):
        names.parse(text)


def test_plain_name_is_ones_own_else_the_platforms():
    assert names.meant("full", "alice") == [ImageName("alice", "full"), ImageName("", "full")]
    assert names.meant("alice/full", "alice") == [ImageName("alice", "full")]
    assert names.meant("full", "") == [ImageName("", "full")]
    assert str(names.new("exp.1", "alice")) == str(names.new("alice/exp.1", "alice")) == "alice/exp.1"
    for refuse in (names.meant, names.new):
        with pytest.raises(Denied, match="image 'bob/exp' would be bob's"):
            refuse("bob/exp", "alice")
    for default in ("default", "alice/default"):
        with pytest.raises(InvalidRequest, match="default is the platform's image"):
            names.new(default, "alice")


# Saving


class Boots:
    """What bootserver knows of one node that has booted."""

    def __init__(self, images):
        self.images = images
        self.running = Published(REQUEST, 1.0, 2.0, "base")

    def published(self, node_id):
        return self.running

    def access(self, node_id):
        return ACCESS

    def folders(self):
        return {self.running.folder}


class AtOnce:
    """Jobs, for who waits for each."""

    def start(self, user, work):
        self.changed = work(lambda sentence: None)


class Here:
    def __init__(self, folder, changes_tar):
        self.folder = folder
        self.tar = changes_tar
        self.target = TARGET
        self.restart()

    def restart(self):
        library = Library(self.folder / "images", "users")
        self.images = ImageStore(self.folder / "images", {"default": "base"}, library, self.folder / "cache")
        self.boots = Boots(self.images)
        self.workshop = Workshop(self.images, self.boots.folders)
        self.jobs = AtOnce()
        catalogue = Catalogue(self.images, self.workshop, lambda: [])
        self.saver = Saver(self.boots, self.workshop, catalogue, self.jobs, self.authorize)

    def authorize(self, user, node, action):
        assert action == nodes.SAVE
        if user != self.target.owner:
            raise NotOwner(f"{node} is not {user}'s")
        return self.target

    def fetch(self, source, place):
        shutil.copy(self.tar, place / "changes.tar")

    def save(self, name, force=False, user="alice"):
        self.saver.save(user, "vnode1", name, force)
        return self.jobs.changed.image

    def users_folders(self):
        return sorted(path.name for path in (self.folder / "images/users").iterdir() if path.name != RECORDS)


@pytest.fixture
def here(overlay, tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    shutil.copytree(overlay / "base", tmp_path / "images/base", symlinks=True)
    here = Here(tmp_path, overlay / "changes.tar")
    monkeypatch.setattr(saving, "fetch", lambda source, place: here.fetch(source, place))
    return here


def test_saved_image_can_be_booted_by_its_owner(here):
    view = here.save("exp1")
    assert (view.name, view.owner, view.kernel) == ("alice/exp1", "alice", VERSION)
    image = here.images.meant("exp1", "alice")
    assert (image.tree / "etc/motd").read_text() == "new\n"
    assert here.images.files(image).kernel == here.images.files(here.images.find("default")).kernel
    assert here.images.names_of("alice") == ["default", "alice/exp1"]
    assert here.images.names_of("bob") == ["default"]
    with pytest.raises(NotFound, match="no image 'exp1'; there are: default"):
        here.images.meant("exp1", "bob")
    with pytest.raises(Denied):
        here.images.meant("alice/exp1", "bob")
    assert (here.folder / "images/users").stat().st_mode & 0o777 == 0o700
    here.restart()
    assert here.images.meant("exp1", "alice") == image
    assert here.images.served(here.images.files(image).initrd).exists()


def test_what_cannot_be_saved(here):
    with pytest.raises(NotOwner):
        here.save("exp1", user="bob")
    here.target = replace(TARGET, state=BOOTING)
    with pytest.raises(Conflict, match="vnode1 is booting; allowed: to save a node that is booted"):
        here.save("exp1")
    here.target = TARGET
    here.save("exp1")
    with pytest.raises(Conflict, match="'alice/exp1' is there already; allowed: another name, or --force"):
        here.save("exp1")
    assert len(here.users_folders()) == 1


def test_force_replaces_but_a_running_node_keeps_its_folder(here):
    here.save("exp1")
    old = here.images.meant("exp1", "alice")
    here.boots.running = Published(replace(REQUEST, image="alice/exp1"), 1.0, 2.0, old.folder)
    here.save("exp1", force=True)
    new = here.images.meant("exp1", "alice")
    assert new.folder != old.folder and old.tree.exists()
    kernel = here.images.files(new).kernel
    here.boots.running = Published(REQUEST, 3.0, 4.0, new.folder)
    here.workshop.sweep()
    assert not old.tree.exists() and new.tree.exists()
    assert here.images.served(kernel).exists()
    assert len(list((here.folder / "cache/users").glob(f"{Path(old.folder).name}*"))) == 0


def test_image_that_is_read_stays_till_then(here, monkeypatch):
    here.save("exp1")
    base = here.images.meant("exp1", "alice")
    here.boots.running = Published(replace(REQUEST, image="alice/exp1"), 1.0, 2.0, base.folder)
    work = saving.helper

    def after_a_while(*words, **more):
        """The node boots another image meanwhile, and nothing else has this one any more."""
        here.boots.running = Published(REQUEST, 3.0, 4.0, "base")
        here.images.library.remove(ImageName("alice", "exp1"))
        here.workshop.sweep()
        work(*words, **more)

    monkeypatch.setattr(saving, "helper", after_a_while)
    here.save("exp2")
    assert (here.images.meant("exp2", "alice").tree / "usr/bin/tool").exists()
    here.workshop.sweep()
    assert not base.tree.exists()


def test_image_that_is_replaced_while_a_node_begins_to_boot_it_is_not_what_it_boots(here, tmp_path):
    here.save("exp1")

    def while_the_nfs_server_is_asked(paths):
        if not paths:  # then the plan holds the folder, which the workshop of this test does not know
            here.save("exp1", force=True)
        return ""

    world = World(while_the_nfs_server_is_asked, lambda: "", lambda address: False)
    kept = stores(here.images, tmp_path / "state")
    real = boots.Boots(Site("192.168.172.1", "255.255.252.0", 80), kept, world, print)
    real.publish(replace(REQUEST, image="alice/exp1"))
    real.stop()
    assert (here.images.folder / kept.plans.get(7).folder / "etc/motd").exists()


def test_failed_save_is_no_image_and_leaves_nothing(here, monkeypatch):
    def cut_off(source, place):
        (place / "changes.tar").write_bytes(here.tar.read_bytes()[:3000])

    def booted_anew(source, place):
        shutil.copy(here.tar, place / "changes.tar")
        here.boots.running = Published(replace(REQUEST, run=4), 1.0, 2.0, "base")

    for fetch, error in ((cut_off, Failed), (booted_anew, Conflict)):
        monkeypatch.setattr(saving, "fetch", fetch)
        with pytest.raises(error, match="vnode1"):
            here.save("exp1")
        assert here.users_folders() == []
        assert here.images.names_of("alice") == ["default"]


def test_image_without_a_kernel_is_none(here, monkeypatch):
    tar = Tar(here.folder / "no-kernel.tar")
    tar.add(f"changes/boot/vmlinuz-{VERSION}", type=tarfile.CHRTYPE)
    here.tar = tar.write()
    with pytest.raises(Failed, match="alice/exp1.*holds no boot/vmlinuz"):
        here.save("exp1")
    assert here.users_folders() == []


def test_two_commands_do_not_make_one_image(here):
    with here.workshop.hold(ImageName("alice", "exp1")):
        with pytest.raises(Conflict, match="another command is at work on image 'alice/exp1'"):
            here.save("exp1")
        here.save("exp2")
    here.save("exp1")


def test_leftovers_of_a_kill_are_swept(here):
    here.save("exp1")
    kept = here.users_folders()
    for left in (".new-abc/tree/etc", "0123abcd/etc"):
        (here.folder / "images/users" / left).mkdir(parents=True)
    here.restart()
    here.workshop.sweep()
    assert here.users_folders() == kept
    assert (here.folder / "images/base/etc").exists()
