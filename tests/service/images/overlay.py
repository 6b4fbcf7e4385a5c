"""The changes of a real overlay, as the script in a node sends them; and tars that no such script would send."""

from __future__ import annotations

import io
import os
import re
import shutil
import stat
import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from services.bootserver import platform_block
from services.bootserver.images.save_node import FETCH
from services.bootserver.workers import apply_overlay
from tests.support.image_tree import make_kernel

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
printf '# walt: begin (x)\nsecret\n# walt: end\nssh-ed25519 AAAA of-the-user\n' > /root/.ssh/authorized_keys
printf '# walt: begin (x)\n192.168.172.10 vnode1\n# walt: end\n' > /etc/hosts
echo secret > /etc/ssh/ssh_host_ed25519_key
for own in etc/hostname etc/resolv.conf etc/machine-id tmp/x run/x persist/x proc/x; do echo own > /$own; done
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
    for path in ("bin", "etc/goes", "usr/bin", "usr/share/replaced", "usr/share/file", "srv", "mnt", "proc"):
        (tree / path).mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin")
    applets = "sh mount umount mkdir find xargs tar grep rm cat chmod chown ln mkfifo mknod"
    for applet in applets.split():
        (tree / "bin" / applet).symlink_to("busybox")
    for path in ("etc/gone", "etc/goes/too", "etc/motd", "usr/share/kept", "usr/share/replaced/old", "usr/share/file/x",
                 "usr/share/folder", "usr/bin/tool", "mnt/stays"):  # fmt: skip
        (tree / path).write_text("base\n")
    make_kernel(tree)


def add_gnu_tar(tree: Path) -> None:
    """In place of busybox's, and with it another shell: that of busybox runs what busybox has."""
    for name, program in (("tar", "/bin/tar"), ("sh", "/bin/dash")):
        (tree / "bin" / name).unlink()
        shutil.copy(program, tree / "bin" / name)
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"(/\S+) \(", listed):
            place = tree / library.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, place)
    (tree / "dev").mkdir()
    os.mknod(tree / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))


def make_changes(folder: Path, work: str) -> None:
    """In a folder with `base`: `changes.tar` as a node sends it that runs it, and has done `work`, and `merged`: the
    root as the node sees it."""
    for name in ("ram", "root", "merged"):
        (folder / name).mkdir()
    argv = ["unshare", "--mount", "sh", "-c", OVERLAY, "sh", str(folder), work, FETCH]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def manifest(tree: Path) -> dict[str, tuple[object, ...]]:
    """All that a user could see of a tree, without what is the node's own, or has lines of the platform."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, directories, files in os.walk(tree):
        for name in (*directories, *files):
            path = Path(folder, name)
            relative = path.relative_to(tree)
            if not apply_overlay.belongs_to_node(relative) and str(relative) not in platform_block.FILES:
                seen = path.lstat()
                content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
                found[str(relative)] = (seen.st_mode, seen.st_uid, seen.st_gid, seen.st_rdev, content)
    return found


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
            for listing in (apply_overlay.DIRECTORIES, apply_overlay.NAMES):
                member = tarfile.TarInfo(listing)
                member.size = len(names_)
                tar.addfile(member, io.BytesIO(names_))
        return self.path
