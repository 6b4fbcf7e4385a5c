"""Builds an image by mmdebstrap, as root, or finds it built."""

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
from services.kit.subprocesses import DIE_WITH_PARENT, run
from walt.contracts.errors import Failed


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
        run(["apt-get", "indextargets", "--format", "$(ORIGIN) $(CODENAME) $(REPO_URI) $(COMPONENT)"], env=os.environ)
    )
    if not sources:
        raise Failed(
            f"image {recipe.name}: apt knows no source of Debian {recipes.SUITE}; run apt-get update, try again"
        )
    options = recipes.host_options(run(["apt-config", "dump", "Acquire"], env=os.environ))
    _say(f"building image {recipe.name} from Debian {recipes.SUITE} (about a minute)")
    started = time.monotonic()
    for left in finished.parent.glob(f".{recipe.image}.build-*"):  # of a builder that was killed: we hold the lock
        shutil.rmtree(left)
    temporary = Path(tempfile.mkdtemp(prefix=f".{recipe.image}.build-", dir=finished.parent))
    try:
        tree = temporary / "root"
        _show_progress([*argv_in_own_namespaces(), *recipes.command(recipe, tree, sources, options)])
        run([str(recipe.folder / "customize"), str(tree)])
        tree.rename(finished)
    finally:
        shutil.rmtree(temporary)
    _say(f"image {recipe.name} built in {time.monotonic() - started:.0f} s: {finished}")


def argv_in_own_namespaces() -> list[str]:
    """argv prefix: own PID and mount namespace, killed with us, so that nothing that it started or mounted survives.

    Empty on a host that does not allow this: it allows no mounts either.
    """
    argv = [*DIE_WITH_PARENT, "unshare", "--mount-proc", "--pid", "--fork", "--kill-child"]
    try:
        run([*argv, "true"])
    except Failed:
        return []
    return argv


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
