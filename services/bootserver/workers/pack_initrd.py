"""`python -m services.bootserver.workers.pack_initrd TREE VERSION KERNEL BUSYBOX INIT TARGET`: the initrd of an image.

Writes the initrd for kernel VERSION of the image TREE to the file TARGET; prints the SHA-256 of the file KERNEL, that
of TARGET, and
the file system that the root should have, a line each. All it reads is of bounded size (`kernel_image.LIMIT_BYTES`,
`module_reader.TOTAL_LIMIT_BYTES`).
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from services.bootserver.image_kernel import initrd, module_reader
from services.bootserver.workers import worker
from services.kit.files import write_atomically
from walt.contracts.errors import Failed


def pack(tree: Path, version: str, busybox: bytes, init: bytes) -> tuple[bytes, str]:
    """The initrd, and the file system for the root."""
    try:
        modules, files = module_reader.read(tree, version, initrd.MODULES)
    except (OSError, LookupError) as error:
        raise Failed(str(error)) from None
    return initrd.archive(initrd.contents(version, modules, files, busybox, init)), modules.root_format


def pack_and_print(tree: Path, version: str, kernel: Path, busybox: Path, init: Path, target: Path) -> None:
    packed, root_format = pack(tree, version, busybox.read_bytes(), init.read_bytes())
    write_atomically(target, packed)
    with open(kernel, "rb") as file:
        print(hashlib.file_digest(file, "sha256").hexdigest())
    print(hashlib.sha256(packed).hexdigest())
    print(root_format)


if __name__ == "__main__":
    tree, version, *paths = sys.argv[1:]
    kernel, busybox, init, target = map(Path, paths)
    worker.worker_main(lambda: pack_and_print(Path(tree), version, kernel, busybox, init, target))
