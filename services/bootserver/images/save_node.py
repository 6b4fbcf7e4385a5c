"""A node becomes an image: what it has changed is fetched over ssh and applied to the image that it runs.

A job (`jobs.py`) that a command follows."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from services.bootserver.images import image_names
from services.bootserver.images.catalogue import Catalogue
from services.bootserver.images.image_names import ImageName
from services.bootserver.images.jobs import Jobs, Progress
from services.bootserver.images.staging import TREE, Staging
from services.bootserver.workers.apply_overlay import CHANGES, DIRECTORIES, NAMES, NODE_FOLDERS
from services.bootserver.workers.worker import run_worker
from services.kit import ssh
from services.kit.subprocesses import DIE_WITH_PARENT, ProgramFailed, follow
from walt.contracts import file_attributes, nodes
from walt.contracts.bootserver import ImageChanged, NodeAccess
from walt.contracts.errors import Conflict, Failed, InvalidRequest
from walt.contracts.nodes import NodeTarget
from walt.contracts.vmrunner import BOOTED

FETCH_LIMIT_S = 1800
APPLY_LIMIT_S = 1800
SHARE_OF_SPACE = 3  # the tar and the files in it take no more than two parts of what is free
STDERR_CHARS = 1000
BLOCK_BYTES = 512  # of `ulimit -f`

# Run by root's shell in the node, busybox or not. `merged` is the root without what is mounted on it.
FETCH = f"""
set -e
cd /.walt/{CHANGES}
mkdir -p /.walt/merged
mount -o bind / /.walt/merged
trap 'umount /.walt/merged; rm -f /.walt/{DIRECTORIES} /.walt/{NAMES}' EXIT
find . {" ".join(f"-path ./{one} -prune -o" for one in NODE_FOLDERS)} -type d -print0 > /.walt/{DIRECTORIES}
cd /.walt/merged
xargs -0 sh -c 'find "$@" -mindepth 1 -maxdepth 1 -print0' sh < /.walt/{DIRECTORIES} > /.walt/{NAMES}
cd /.walt
{file_attributes.SET_TAR_OPTIONS}
for one in {CHANGES}/* {CHANGES}/.[!.]* {CHANGES}/..?*; do
    [ -e "$one" ] || [ -L "$one" ] || continue
    case ${{one#{CHANGES}/}} in
        {"|".join(NODE_FOLDERS)}) ;;
        *) set -- "$@" "$one" ;;
    esac
done
tar -c -f - "$@" {DIRECTORIES} {NAMES} || [ $? -eq 1 ]  # 1: GNU tar saw a file change while it read it
"""


@dataclass(frozen=True)
class Source:
    """What is saved: the run of the node that answers now. folder: of the image that it runs."""

    node: str
    run: int
    folder: str
    access: NodeAccess


@dataclass(frozen=True)
class RunningNodes:
    """What others know of nodes.

    authorize(user, node, action): asks the service nodes;
    boot_of(node_id): the run of its last boot, and the folder of its image ("" if that was not recorded); or NotFound;
    access_to(node_id): how to log in to it.
    """

    authorize: Callable[[str, str, str], NodeTarget]
    boot_of: Callable[[int], tuple[int, str]]
    access_to: Callable[[int], NodeAccess]


class NodeSaver:
    def __init__(self, images: Path, staging: Staging, catalogue: Catalogue, jobs: Jobs, running: RunningNodes) -> None:
        self._images = images
        self._staging = staging
        self._catalogue = catalogue
        self._jobs = jobs
        self._nodes = running

    def save(self, user: str, node: str, name: str, force: bool) -> str:
        """The id of the job. What can be known to be wrong is refused at once."""
        image_name = image_names.new_name(name, user)
        target = self._nodes.authorize(user, node, nodes.SAVE)
        self._staging.check_may_create(image_name, force)
        self._source(target)
        return self._jobs.start(user, lambda progress: self._save(target, image_name, force, progress))

    def _save(self, target: NodeTarget, image_name: ImageName, force: bool, progress: Progress) -> ImageChanged:
        source = self._source(target)
        with self._staging.lock(image_name), self._staging.keep(source.folder), self._staging.folder() as folder:
            self._staging.check_may_create(image_name, force)
            progress("fetching what it has changed")
            fetch(source, folder)
            if self._source(target) != source:
                raise Conflict(f"{source.node} has rebooted while it was saved; allowed: to save it again")
            progress("making it an image")
            self._apply(source, folder, progress)
            self._staging.install(folder, image_name)
        return self._catalogue.describe_change(image_name)

    def _source(self, target: NodeTarget) -> Source:
        if target.state != BOOTED:
            raise Conflict(f"{target.name} is {target.state}; allowed: to save a node that is {BOOTED}")
        run, folder = self._nodes.boot_of(target.id)
        if not folder:
            raise Conflict(f"{target.name} runs since before the platform could save; allowed: once it has rebooted")
        return Source(target.name, run, folder, self._nodes.access_to(target.id))

    def _apply(self, source: Source, folder: Path, progress: Progress) -> None:
        arguments = (self._images / source.folder, folder / "changes.tar", folder / TREE)
        try:
            run_worker("apply_overlay", *arguments, on_line=progress, timeout=APPLY_LIMIT_S)
        except (Failed, InvalidRequest) as error:
            raise Failed(f"{source.node} could not be made an image: {error}") from None


def fetch(source: Source, folder: Path) -> None:
    """`folder`/changes.tar, whole."""
    ssh.write_credentials(folder, source.access)
    (folder / "script").write_text(FETCH)
    limit = shutil.disk_usage(folder).free // SHARE_OF_SPACE // BLOCK_BYTES
    limited = f'ulimit -f {limit}; cd "$0"; exec "$@" < script > changes.tar'
    argv = [*DIE_WITH_PARENT, "sh", "-c", limited, str(folder), *ssh.argv(folder, source.access, ["sh", "-s"])]
    try:
        follow(argv, lambda _: None, timeout=FETCH_LIMIT_S)
    except ProgramFailed as failure:
        raise Failed(f"the changes of {source.node} could not be fetched: {_reason(failure, limit)}") from None


def _reason(failure: ProgramFailed, limit: int) -> str:
    if failure.status == -signal.SIGXFSZ:
        return f"they take more than {limit * BLOCK_BYTES / 1e6:.0f} MB, a part of what is free on the server"
    if failure.stderr:
        return failure.stderr[-STDERR_CHARS:]
    return f"ssh ended with status {failure.status}" if failure.status > 0 else "they take too long"
