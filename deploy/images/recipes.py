"""What an image is made of. Pure, but for reading the recipe's own folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
SUITE = "bookworm"
EXCLUDED = ("man", "doc", "locale", "info", "bug", "lintian")

# How this host reaches its mirror; what the finished image itself must not keep.
HOST_APT_OPTIONS = ("Acquire::http", "Acquire::https", "Acquire::Check-", "Acquire::Retries")


@dataclass(frozen=True)
class Recipe:
    """`folder` holds `packages` (first item: variant of mmdebstrap) and `customize`, run with the tree as $1
    once mmdebstrap, which mounts things in the tree, is done."""

    name: str
    folder: Path
    variant: str
    packages: tuple[str, ...]
    digest: str

    @property
    def image(self) -> str:
        return f"{self.name}-{self.digest}"


def names() -> list[str]:
    return sorted(path.parent.name for path in FOLDER.glob("*/packages"))


def load(name: str) -> Recipe:
    folder = FOLDER / name
    variant, *packages = (folder / "packages").read_text().split()
    return Recipe(name, folder, variant, tuple(packages), _digest(folder))


def _digest(folder: Path) -> str:
    digest = hashlib.sha256(SUITE.encode())
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"\0{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def command(recipe: Recipe, tree: Path, sources: Sequence[str], apt_options: Iterable[str]) -> list[str]:
    """The call of mmdebstrap that fills `tree`."""
    return [
        "mmdebstrap",
        f"--variant={recipe.variant}",
        f"--include={','.join(recipe.packages)}",
        *(f"--aptopt={option}" for option in apt_options),
        *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in EXCLUDED),
        SUITE,
        str(tree),
        *sources,
    ]


def debian_sources(index_targets: str) -> list[str]:
    """Lines of `apt-get indextargets` ('ORIGIN CODENAME URI COMPONENT') -> lines of sources.list for our suite."""
    lines = {tuple(line.split()) for line in index_targets.splitlines() if len(line.split()) == 4}
    return [
        f"deb {uri} {codename} {component}"
        for origin, codename, uri, component in sorted(lines)
        if origin == "Debian" and component == "main" and codename.partition("-")[0] == SUITE
    ]


def host_options(config_dump: str) -> list[str]:
    """The lines of `apt-config dump` that say how to reach the mirror, without their ';'."""
    lines = (line.strip().rstrip(";") for line in config_dump.splitlines())
    return [line for line in lines if line.startswith(HOST_APT_OPTIONS) and not line.endswith('""')]
