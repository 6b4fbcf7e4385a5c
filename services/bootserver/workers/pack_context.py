"""`python -m services.bootserver.workers.pack_context CONTEXT TAR SOURCES`: the folder of a Dockerfile, checked.

CONTEXT is a tar that a user has sent. TAR becomes one that is made here, so that the engine reads the same Dockerfile
as was checked: all images that it has the engine fetch are of SOURCES (`WALT_IMAGE_SOURCES`).
"""

from __future__ import annotations

import stat
import sys
import tempfile
from pathlib import Path

from services.bootserver.docker_images import docker_sources, dockerfile, references
from services.bootserver.workers import image_tar, worker
from services.bootserver.workers.unpack import unpack
from services.kit import subprocesses
from walt.contracts.errors import InvalidRequest

DOCKERFILE = "Dockerfile"
LIMIT_S = 1800


def pack(context: Path, tar: Path, sources: docker_sources.DockerSources) -> None:
    with tempfile.TemporaryDirectory(dir=tar.parent) as name:
        folder = Path(name)
        unpack(context, folder)
        check(read(folder / DOCKERFILE), sources)
        argv = [*image_tar.argv(folder), f"--file={tar}"]
        subprocesses.run(argv, timeout=LIMIT_S, success=image_tar.SUCCESS)


def read(file: Path) -> str:
    if not (file.exists() and stat.S_ISREG(file.lstat().st_mode)):
        raise InvalidRequest(f"there is no file '{DOCKERFILE}' at the top of what was sent")
    with file.open("rb") as content:
        return dockerfile.text_of(content.read(dockerfile.MAX_BYTES + 1))


def check(text: str, sources: docker_sources.DockerSources) -> None:
    for image in dockerfile.fetched_images(text):
        references.check(image)
        sources.check_reference(image)
    if not sources.builds_online:
        dockerfile.check_adds_nothing_from_outside(text)


if __name__ == "__main__":
    context, target, allowed = sys.argv[1:]
    worker.worker_main(lambda: pack(Path(context), Path(target), docker_sources.parse(allowed)), Path(target).parent)
