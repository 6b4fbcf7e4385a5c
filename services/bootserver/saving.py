"""A node becomes an image: what it has changed is fetched over ssh and put on top of the image that it runs.

A piece of work of its user (`jobs.py`), for a command that follows it."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from services.bootserver import names
from services.bootserver.catalogue import Catalogue
from services.bootserver.changes import CHANGES, DIRECTORIES, NAMES, OWN_FOLDERS
from services.bootserver.helpers import helper
from services.bootserver.jobs import Jobs, Say
from services.bootserver.names import ImageName
from services.bootserver.pages import Pages
from services.bootserver.workshop import TREE, Workshop
from services.contracts import nodes
from services.contracts.bootserver import ImageChanged, NodeAccess
from services.contracts.errors import Conflict, Failed, InvalidRequest
from services.contracts.nodes import NodeTarget
from services.contracts.vmrunner import BOOTED
from services.kit.commands import END_WITH_US, CommandEnded, follow

FETCH_LIMIT_S = 1800
BUILD_LIMIT_S = 1800
SHARE_OF_SPACE = 3  # the tar and the files in it take no more than two parts of what is free
SAID_CHARS = 1000
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

    def __init__(
        self,
        pages: Pages,
        workshop: Workshop,
        catalogue: Catalogue,
        jobs: Jobs,
        authorize: Callable[[str, str, str], NodeTarget],
    ) -> None:
        self._pages = pages
        self._workshop = workshop
        self._catalogue = catalogue
        self._jobs = jobs
        self._authorize = authorize

    def save(self, user: str, node: str, name: str, force: bool) -> str:
        """The piece of work. What can be known to be wrong is refused at once."""
        title = names.new(name, user)
        target = self._authorize(user, node, nodes.SAVE)
        self._workshop.check_new(title, force)
        self._source(target)
        return self._jobs.start(user, lambda say: self._save(target, title, force, say))

    def _save(self, target: NodeTarget, title: ImageName, force: bool, say: Say) -> ImageChanged:
        source = self._source(target)
        with self._workshop.hold(title), self._workshop.reading(source.folder), self._workshop.place() as place:
            self._workshop.check_new(title, force)
            say("fetching what it has changed")
            fetch(source, place)
            if self._source(target) != source:
                raise Conflict(f"{source.node} has booted anew while it was saved; allowed: to save it again")
            say("making it an image")
            self._build(source, place, say)
            self._workshop.finish(place, title)
        return self._catalogue.changed(title)

    def _source(self, target: NodeTarget) -> Source:
        if target.state != BOOTED:
            raise Conflict(f"{target.name} is {target.state}; allowed: to save a node that is {BOOTED}")
        published = self._pages.published(target.id)
        if not published.folder:
            raise Conflict(f"{target.name} runs since before the platform could save; allowed: once it has rebooted")
        return Source(target.name, published.request.run, published.folder, self._pages.access(target.id))

    def _build(self, source: Source, place: Path, say: Say) -> None:
        base = self._pages.images.folder / source.folder
        try:
            helper("changes", base, place / "changes.tar", place / TREE, say=say, timeout=BUILD_LIMIT_S)
        except (Failed, InvalidRequest) as error:
            raise Failed(f"{source.node} could not be made an image: {error}") from None


def fetch(source: Source, place: Path) -> None:
    """`place`/changes.tar, whole."""
    (place / "key").touch(0o600)
    (place / "key").write_text(source.access.private_key)
    (place / "known_hosts").write_text(f"node {source.access.host_key}\n")
    (place / "script").write_text(FETCH)
    limit = shutil.disk_usage(place).free // SHARE_OF_SPACE // BLOCK_BYTES
    limited = f'ulimit -f {limit}; cd "$0"; exec "$@" < script > changes.tar'
    try:
        words = [*END_WITH_US, "sh", "-c", limited, str(place), *_ssh(source.access, place)]
        follow(words, lambda _: None, timeout=FETCH_LIMIT_S)
    except CommandEnded as end:
        raise Failed(f"the changes of {source.node} could not be fetched: {_why(end, limit)}") from None


def _why(end: CommandEnded, limit: int) -> str:
    if end.status == -signal.SIGXFSZ:
        return f"they take more than {limit * BLOCK_BYTES / 1e6:.0f} MB, a part of what is free on the server"
    return end.said[-SAID_CHARS:] or (f"ssh ended with status {end.status}" if end.status > 0 else "they take too long")


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
