"""`python -m services.bootserver.engine export IMAGE TAR` or `build CONTEXT TAR`: the Docker Engine of the server.

TAR becomes the root file system: of an image, pulled if the engine has none of that name; or of what the Dockerfile
in CONTEXT, a tar of its folder, makes. Prints a sentence a line; on stderr why it failed. A process of its own: it
waits for the engine with the plain, uncooperative `requests`.

The engine is the one that DOCKER_HOST names (default: the host's socket). What is built leaves nothing there; what is
pulled stays, for all users.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
import uuid
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from services.bootserver import helpers
from services.contracts.bootserver import MODEL
from services.contracts.errors import Failed, InvalidRequest, NotFound

ENGINE_WAIT_S = 600
DEFAULT_HOST = "unix:///var/run/docker.sock"
MACHINE = "amd64"
OURS = "walt.temporary"  # label of containers that a process that was killed may have left
BUILT = "walt-build"  # name of images; each with its time and a random number as its tag
LEFT_S = 3600
TAIL_LINES = 15
LAYERS = 1000  # more than a Dockerfile makes; what it prints may look the same
MODELS = "walt.node.models"  # label: what an image with boot scripts of its own is for
_LAYER = re.compile(r"---> ([0-9a-f]{12})$")


def say(sentence: str) -> None:
    print(sentence, flush=True)


@contextlib.contextmanager
def engine(what: str) -> Iterator[Any]:
    import docker
    import requests
    import urllib3
    from docker.errors import APIError, DockerException

    try:
        client = docker.from_env(timeout=ENGINE_WAIT_S)
        with contextlib.closing(client):
            client.ping()
            yield client.api
    except APIError as error:
        raise Failed(f"the Docker Engine of the server refuses {what}: {error.explanation or error}") from None
    except (DockerException, requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise Failed(
            f"no Docker Engine answers on the server ({_reason(error)}); allowed without one: a FILE.tar or a folder"
        ) from None


def _reason(error: BaseException) -> str:
    """'unix:///nowhere: No such file or directory' of what three libraries have wrapped around each other."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, OSError) and below.strerror:
            return f"{os.environ.get('DOCKER_HOST', DEFAULT_HOST)}: {below.strerror}"
        below = below.__cause__ or below.__context__
    return str(error)


def export(reference: str, target: Path) -> None:
    with engine(f"image '{reference}'") as api:
        _remove_leftovers(api)
        _check(_present(api, reference), reference)
        _export(api, reference, target)


def build(context: Path, target: Path) -> None:
    tag = f"{BUILT}:{time.time():.0f}-{uuid.uuid4().hex}"
    with engine("the build") as api, open(context, "rb") as file:
        _remove_leftovers(api)
        known = {image["Id"] for image in api.images(all=True)}
        layers: deque[str] = deque(maxlen=LAYERS)
        try:
            _build(api, file, tag, layers)
            _check(api.inspect_image(tag), "what was built")
            _export(api, tag, target)
        finally:
            _forget(api, [tag, *reversed(layers)], known)


def _build(api: Any, context: Any, tag: str, layers: deque[str]) -> None:
    """Fills `layers` with what it makes on its way. Without the engine's cache: no other build has any of them."""
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    steps = api.build(
        fileobj=context,
        custom_context=True,
        tag=tag,
        rm=True,
        forcerm=True,
        nocache=True,
        decode=True,
        labels={OURS: "yes"},
    )
    for step in steps:
        if "error" in step:
            raise InvalidRequest("\n".join(["the Dockerfile could not be built:", *tail, step["error"]]))
        for line in filter(None, map(str.strip, step.get("stream", "").splitlines())):
            tail.append(line)
            layers.extend(_LAYER.findall(line))
            if line.startswith("Step "):
                say(line)


def _present(api: Any, reference: str) -> dict[str, Any]:
    from docker.errors import APIError, ImageNotFound
    from docker.utils import parse_repository_tag

    try:
        return dict(api.inspect_image(reference))
    except ImageNotFound:
        say(f"the server's Docker Engine has no '{reference}': pulling it")
    repository, tag = parse_repository_tag(reference)
    try:
        for step in api.pull(repository, tag or "latest", stream=True, decode=True):
            if "error" in step:
                raise NotFound(f"there is no image '{reference}' to be had: {step['error']}")
    except APIError as error:
        raise NotFound(f"there is no image '{reference}' to be had: {error.explanation or error}") from None
    return dict(api.inspect_image(reference))


def _check(image: dict[str, Any], name: str) -> None:
    models = ((image.get("Config") or {}).get("Labels") or {}).get(MODELS)
    if models and MODEL not in models.split(","):
        raise InvalidRequest(f"image '{name}' is for nodes of model {models}; allowed: {MODEL}")
    if (image["Os"], image["Architecture"]) != ("linux", MACHINE):
        raise InvalidRequest(f"image '{name}' is for {image['Os']}/{image['Architecture']}; allowed: linux/{MACHINE}")


def _export(api: Any, reference: str, target: Path) -> None:
    container = api.create_container(reference, command=["/nothing"], labels={OURS: "yes"})["Id"]
    try:
        written = 0
        shown = 0
        with open(target, "wb") as file:
            for piece in api.export(container):
                file.write(piece)
                written += len(piece)
                if written // 100_000_000 > shown:
                    shown = written // 100_000_000
                    say(f"{shown * 100} MB taken from the Docker Engine")
    finally:
        api.remove_container(container, force=True)


def _forget(api: Any, images: list[str], known: set[str]) -> None:
    """Names and numbers of images; those that were known before stay. One that others are made of goes with them."""
    from docker.errors import APIError

    for image in images:
        with contextlib.suppress(APIError):
            if api.inspect_image(image)["Id"] not in known:
                api.remove_image(image)


def _remove_leftovers(api: Any) -> None:
    from docker.errors import APIError

    old = time.time() - LEFT_S
    for container in api.containers(all=True, filters={"label": OURS, "status": "created"}):
        if container["Created"] < old:
            with contextlib.suppress(APIError):  # another of us removes it
                api.remove_container(container["Id"], force=True)
    for tag in (tag for image in api.images(name=BUILT) for tag in image["RepoTags"]):
        made = re.fullmatch(rf"{BUILT}:(\d+)-\w+", tag)
        if made and float(made[1]) < old:
            with contextlib.suppress(APIError):
                api.remove_image(tag)


if __name__ == "__main__":
    what, source, target = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    work = {"export": lambda: export(source, target), "build": lambda: build(Path(source), target)}[what]
    helpers.main(work, target.parent)
