"""The folder of an image, with a kernel, its modules, and nothing else."""

from __future__ import annotations

from pathlib import Path

from services.bootserver.image_kernel import initrd

VERSION = "6.1-test"
LINUX = b"\0" * 0x202 + b"HdrS" + b"\0" * 8 + (0x100).to_bytes(2, "little")  # the head of a bzImage


def make_kernel(tree: Path, version: str = VERSION, name: str = "") -> None:
    """name: of the kernel in /boot, when it is not vmlinuz-VERSION."""
    home = tree / "lib/modules" / version
    home.mkdir(parents=True)
    (tree / "boot").mkdir(exist_ok=True)
    kernel = LINUX.ljust(0x300, b"\0") + version.encode() + b" (x)\0"
    (tree / "boot" / (name or f"vmlinuz-{version}")).write_bytes(kernel)
    (home / "modules.dep").write_text("".join(f"{module}.ko:\n" for module in initrd.MODULES))
    (home / "modules.builtin").write_text("")
    for module in initrd.MODULES:
        (home / f"{module}.ko").write_bytes(module.encode())
