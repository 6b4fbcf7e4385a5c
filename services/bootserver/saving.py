"""A node becomes an image: what it has changed is fetched over ssh and put on top of the image that it runs.

A new image is made in a folder of its own, whose name begins with a dot until it is whole; then it gets its record
(`library.py`), and only then is it an image. Whatever else is there belongs to nobody, and goes.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from services.bootserver import names
from services.bootserver.boots import Boots
from services.bootserver.changes import CHANGES, DIRECTORIES, NAMES, OWN_FOLDERS
from services.bootserver.library import Record
from services.bootserver.names import ImageName
from services.contracts import nodes
from services.contracts.bootserver import ImageView, NodeAccess
from services.contracts.errors import Conflict, Failed
from services.contracts.nodes import NodeTarget
from services.contracts.vmrunner import BOOTED
from services.kit.commands import run

FETCH_LIMIT_S = 1800
BUILD_LIMIT_S = 1800
SHARE_OF_SPACE = 3  # the tar and the files in it take no more than two parts of what is free
BLOCK_BYTES = 512  # of `ulimit -f`

# Run by root's shell in the node, busybox or not. `merged` is the root without what is mounted on it.
FETCH = f"""
set -e
cd /.walt/{CHANGES}
mkdir -p /.walt/merged
mount -o bind / /.walt/merged
trap 'umount /.walt/merged; rm -f /.walt/{DIRECTORIES} /.walt/{NAMES}' EXIT
find . {" ".join(f"-path ./{one} -prune -o" for one in OWN_FOLDERS)} -type d -print0 > /.walt/{DIRECTORIES}
cd /.walt/merged
xargs -0 sh -c 'find "$@" -mindepth 1 -maxdepth 1 -print0' sh < /.walt/{DIRECTORIES} > /.walt/{NAMES}
cd /.walt
set --
for one in {CHANGES}/* {CHANGES}/.[!.]* {CHANGES}/..?*; do
    [ -e "$one" ] || [ -L "$one" ] || continue
    case ${{one#{CHANGES}/}} in
        {"|".join(OWN_FOLDERS)}) ;;
        *) set -- "$@" "$one" ;;
    esac
done
tar -c -f - "$@" {DIRECTORIES} {NAMES} || [ $? -eq 1 ]  # 1: GNU tar saw a file change while it read it
"""


@dataclass(frozen=True)
class Source:
    """What is saved: the run of the node that answers now."""

    node: str
    run: int
    folder: str
    access: NodeAccess


class Saver:
    """`authorize(user, node, action)` is asked of nodes."""

    def __init__(self, boots: Boots, authorize: Callable[[str, str, str], NodeTarget]) -> None:
        self._boots = boots
        self._images = boots.images
        self._authorize = authorize
        self._making: set[str] = set()

    def save(self, user: str, node: str, name: str, force: bool) -> ImageView:
        title = names.new(name, user)
        target = self._authorize(user, node, nodes.SAVE)
        self._check_free(title, force)
        source = self._source(target)
        with self._workplace() as place, self._unfinished() as folder:
            fetch(source, place)
            if self._source(target) != source:
                raise Conflict(f"{source.node} has booted anew while it was saved; allowed: to save it again")
            self._build(source, place)
            (place / "tree").rename(self._images.folder / folder)
            self._images.files(self._images.at(folder, str(title)))
            self._check_free(title, force)
            self._images.library.put(Record(title.owner, title.name, folder, time.time()))
        self.sweep()
        return self._images.view(self._images.find(str(title)))

    def sweep(self) -> None:
        """Folders of users' images that no image and no running node has; ends of what was killed half-way."""
        used = {record.folder for record in self._images.library.all()} | self._boots.folders() | self._making
        for folder in set(self._images.user_folders()) - used:
            self._images.forget(folder)
        for place in (self._images.folder / self._images.library.home).glob(".new-*"):
            if str(place) not in self._making:
                shutil.rmtree(place, ignore_errors=True)

    def _check_free(self, title: ImageName, force: bool) -> None:
        if self._images.library.find(title) and not force:
            raise Conflict(f"image '{title}' is there already; allowed: another name, or --force to replace it")

    def _source(self, target: NodeTarget) -> Source:
        if target.state != BOOTED:
            raise Conflict(f"{target.name} is {target.state}; allowed: to save a node that is {BOOTED}")
        published = self._boots.published(target.id)
        if not published.folder:
            raise Conflict(f"{target.name} runs since before the platform could save; allowed: once it has rebooted")
        return Source(target.name, published.request.run, published.folder, self._boots.access(target.id))

    def _build(self, source: Source, place: Path) -> None:
        base = self._images.folder / source.folder
        words = [sys.executable, "-m", "services.bootserver.changes", base, place / "changes.tar", place / "tree"]
        try:
            run([str(word) for word in words], timeout=BUILD_LIMIT_S)
        except Failed as error:
            raise Failed(f"{source.node} could not be made an image: {error}") from None

    @contextlib.contextmanager
    def _workplace(self) -> Iterator[Path]:
        """In the same file system as the images, and in nobody's reach but root's: users' set-uid programs lie here."""
        users = self._images.folder / self._images.library.home
        users.mkdir(mode=0o700, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=".new-", dir=users))
        self._making.add(str(place))
        try:
            yield place
        finally:
            run(["rm", "-rf", str(place)])
            self._making.discard(str(place))

    @contextlib.contextmanager
    def _unfinished(self) -> Iterator[str]:
        """A folder that is removed again unless an image has it at the end."""
        folder = self._images.library.new_folder()
        self._making.add(folder)
        try:
            yield folder
        except BaseException:
            self._images.forget(folder)
            raise
        finally:
            self._making.discard(folder)


def fetch(source: Source, place: Path) -> None:
    """`place`/changes.tar, whole."""
    (place / "key").touch(0o600)
    (place / "key").write_text(source.access.private_key)
    (place / "known_hosts").write_text(f"node {source.access.host_key}\n")
    limit = shutil.disk_usage(place).free // SHARE_OF_SPACE // BLOCK_BYTES
    into_file = f'ulimit -f {limit}; exec "$@" > "$0"'
    try:
        run(["sh", "-c", into_file, str(place / "changes.tar"), *_ssh(source.access, place)], stdin=FETCH,
            timeout=FETCH_LIMIT_S)  # fmt: skip
    except Failed as error:
        raise Failed(f"the changes of {source.node} could not be fetched: {error}") from None


def _ssh(access: NodeAccess, place: Path) -> list[str]:
    """OpenSSH, told everything: no file of this host's configuration has a say, no question is ever asked."""
    options = (
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        f"UserKnownHostsFile={place / 'known_hosts'}",
        "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=yes",
        "HostKeyAlias=node",
        "BatchMode=yes",
        "ConnectTimeout=10",
        "ServerAliveInterval=15",
        "ServerAliveCountMax=4",
        "LogLevel=ERROR",
    )
    words = [word for option in options for word in ("-o", option)]
    return ["ssh", "-F", "/dev/null", "-i", str(place / "key"), *words, "-T", "-l", access.user, access.ip, "sh", "-s"]
