"""`python -m deploy.images NAME`: build the image, or find it built, and print its folder. As root.

Environment: WALT_IMAGES_DIR (default /var/cache/walt/images).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from deploy.images import recipes
from services.contracts.errors import Failed, InvalidRequest, WaltError
from services.kit.commands import END_WITH_US, run

IMAGES_DIR = Path("/var/cache/walt/images")


def main(arguments: list[str]) -> int:
    try:
        print(build(_asked(arguments), Path(os.environ.get("WALT_IMAGES_DIR", IMAGES_DIR))))
    except WaltError as error:
        print(f"walt images: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _asked(arguments: list[str]) -> recipes.Recipe:
    if len(arguments) != 1 or arguments[0] not in recipes.names():
        given = " ".join(arguments) or "nothing"
        raise InvalidRequest(f"'{given}' is not an image to build; allowed: {', '.join(recipes.names())}")
    return recipes.load(arguments[0])


def build(recipe: recipes.Recipe, images: Path) -> Path:
    """The folder of the image. It appears whole or not at all; of two builders the second waits and finds it."""
    finished = images / recipe.image
    if finished.is_dir():
        return finished
    if os.geteuid() != 0:
        raise Failed(f"image {recipe.name}: only root can build it (files of many owners)")
    images.mkdir(parents=True, exist_ok=True)
    with _locked(images / f".{recipe.image}.lock"):
        if not finished.is_dir():
            _build(recipe, finished)
    return finished


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(recipe: recipes.Recipe, finished: Path) -> None:
    sources = recipes.debian_sources(
        run(["apt-get", "indextargets", "--format", "$(ORIGIN) $(CODENAME) $(REPO_URI) $(COMPONENT)"])
    )
    if not sources:
        raise Failed(
            f"image {recipe.name}: apt knows no source of Debian {recipes.SUITE}; run apt-get update, try again"
        )
    options = recipes.host_options(run(["apt-config", "dump", "Acquire"]))
    _say(f"building image {recipe.name} from Debian {recipes.SUITE} (about a minute)")
    started = time.monotonic()
    for left in finished.parent.glob(f".{recipe.image}.build-*"):  # of a builder that was killed: we hold the lock
        shutil.rmtree(left)
    temporary = Path(tempfile.mkdtemp(prefix=f".{recipe.image}.build-", dir=finished.parent))
    try:
        tree = temporary / "root"
        _show_progress([*apart(), *recipes.command(recipe, tree, sources, options)])
        run([str(recipe.folder / "customize"), str(tree)])
        tree.rename(finished)
    finally:
        shutil.rmtree(temporary)
    _say(f"image {recipe.name} built in {time.monotonic() - started:.0f} s: {finished}")


def apart() -> list[str]:
    """Before the words of a command: what it has started and mounted goes with it, and it with us, when one is killed. A host
    that does not allow this allows no mounts either."""
    words = [*END_WITH_US, "unshare", "--mount-proc", "--pid", "--fork", "--kill-child"]
    try:
        run([*words, "true"])
    except Failed:
        return []
    return words


def _show_progress(argv: list[str]) -> None:
    """Run mmdebstrap; its stages become our progress lines, the end of its output the reason of a failure."""
    environment = {**os.environ, "INITRD": "No", "LC_ALL": "C.UTF-8"}  # no initrd: bootserver makes its own
    lines: list[str] = []
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.startswith("I: ") and not line.startswith("I: automatically"):
                _say(line[3:].strip())
    if process.returncode != 0:
        tail = "\n".join(lines[-15:])
        raise Failed(f"mmdebstrap ended with status {process.returncode}:\n{tail}")


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
