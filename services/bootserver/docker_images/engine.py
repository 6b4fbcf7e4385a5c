"""Root file systems from a Docker Engine: of an image, pulled if the engine has none of that name, or of what the
Dockerfile in a tar makes. The bytes of users pass through as they are; only the engine reads them.

The engine is the one that DOCKER_HOST names (default: the host's socket). What is built leaves nothing there; what is
pulled stays, for all users.
"""

from __future__ import annotations

import contextlib
import re
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from typing import IO, Any

import docker
from docker.errors import APIError, ImageNotFound
from docker.utils import parse_repository_tag

from services.kit.docker import engine_errors
from walt.contracts.bootserver import MODEL
from walt.contracts.errors import InvalidRequest, NotFound

ENGINE_WAIT_S = 600
MACHINE = "amd64"
TEMPORARY_LABEL = "walt.temporary"  # of containers that a killed worker may have left behind
BUILD_NAME = "walt-build"  # of images; the tag of each is its time and a random number
BUILD_MEMORY_BYTES = 4 * 2**30  # of all processes of a command
BUILD_CPU_SHARES = 256  # VMs have 1024 each
LEFTOVER_AGE_S = 3600
TAIL_LINES = 15
LINE_CHARS = 500  # a line of a Dockerfile, or of what it prints, may have any length
LAYERS = 1000  # more than a Dockerfile makes; what its commands print may look like a layer too
MODELS_LABEL = "walt.node.models"  # of images with boot scripts of their own: for which models of machine
_LAYER = re.compile(r"---> ([0-9a-f]{12})$")


Say = Callable[[str], None]  # takes a line of progress; OSError when nobody wants it any more


@contextlib.contextmanager
def engine(purpose: str) -> Iterator[Any]:
    """The low-level client. purpose: what an error of the engine says it refuses."""
    away = "no Docker Engine answers on the server ({}); allowed without one: a FILE.tar or a folder"
    errors = engine_errors(f"the Docker Engine of the server refuses {purpose}: {{}}", away)
    with errors, contextlib.closing(docker.from_env(timeout=ENGINE_WAIT_S)) as client:
        client.ping()
        yield client.api


def export(reference: str, target: IO[bytes], say: Say) -> None:
    with engine(f"image '{reference}'") as api:
        _remove_leftovers(api)
        check_platform(_pull_if_missing(api, reference, say), reference)
        _export(api, reference, target, say)


def build(context: IO[bytes], target: IO[bytes], say: Say, has_network: bool) -> None:
    tag = f"{BUILD_NAME}:{time.time():.0f}-{uuid.uuid4().hex}"
    with engine("the build") as api:
        _remove_leftovers(api)
        former = {image["Id"] for image in api.images(all=True)}
        layers: deque[str] = deque(maxlen=LAYERS)
        try:
            _build(api, context, tag, layers, say, has_network)
            check_platform(api.inspect_image(tag), "what was built")
            _export(api, tag, target, say)
        finally:
            _remove_built(api, [tag, *reversed(layers)], former)


def _build(api: Any, context: IO[bytes], tag: str, layers: deque[str], say: Say, has_network: bool) -> None:
    """Fills `layers` with the ids of those it makes. Without the engine's cache, so that no other build shares them."""
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    steps = api.build(
        fileobj=context,
        custom_context=True,
        tag=tag,
        rm=True,
        forcerm=True,
        nocache=True,
        decode=True,
        labels={TEMPORARY_LABEL: "yes"},
        network_mode=None if has_network else "none",
        container_limits={"memory": BUILD_MEMORY_BYTES, "memswap": BUILD_MEMORY_BYTES, "cpushares": BUILD_CPU_SHARES},
    )
    for step in steps:
        if "error" in step:
            raise InvalidRequest("\n".join(["the Dockerfile could not be built:", *tail, step["error"]]))
        for line in filter(None, map(str.strip, step.get("stream", "").splitlines())):
            tail.append(line[:LINE_CHARS])
            layers.extend(_LAYER.findall(line))
            say(line[:LINE_CHARS] if line.startswith("Step ") else "")


def _pull_if_missing(api: Any, reference: str, say: Say) -> dict[str, Any]:
    """As the engine inspects it."""
    try:
        return dict(api.inspect_image(reference))
    except ImageNotFound:
        say(f"the server's Docker Engine has no '{reference}': pulling it")
    repository, tag = parse_repository_tag(reference)
    try:
        for step in api.pull(repository, tag or "latest", stream=True, decode=True):
            say("")
            if "error" in step:
                raise NotFound(f"there is no image '{reference}': {step['error']}")
    except APIError as error:
        raise NotFound(f"there is no image '{reference}': {error.explanation or error}") from None
    return dict(api.inspect_image(reference))


def check_platform(image: dict[str, Any], name: str) -> None:
    """image: as the engine inspects it. InvalidRequest when it is not for a node."""
    models = ((image.get("Config") or {}).get("Labels") or {}).get(MODELS_LABEL)
    if models and MODEL not in models.split(","):
        raise InvalidRequest(f"image '{name}' is for nodes of model {models}; allowed: {MODEL}")
    if (image["Os"], image["Architecture"]) != ("linux", MACHINE):
        raise InvalidRequest(f"image '{name}' is for {image['Os']}/{image['Architecture']}; allowed: linux/{MACHINE}")


def _export(api: Any, reference: str, target: IO[bytes], say: Say) -> None:
    container = api.create_container(reference, command=["/nothing"], labels={TEMPORARY_LABEL: "yes"})["Id"]
    try:
        written = shown = 0
        for piece in api.export(container):
            target.write(piece)
            written += len(piece)
            is_more = written // 100_000_000 > shown
            shown = written // 100_000_000
            say(f"{shown * 100} MB taken from the Docker Engine" if is_more else "")
        target.flush()
    finally:
        api.remove_container(container, force=True)


def _remove_built(api: Any, images: list[str], former: set[str]) -> None:
    """images: names and ids; those that were there before stay. A layer goes with the last image above it."""
    for image in images:
        with contextlib.suppress(APIError):
            if api.inspect_image(image)["Id"] not in former:
                api.remove_image(image)


def _remove_leftovers(api: Any) -> None:
    old = time.time() - LEFTOVER_AGE_S
    for container in api.containers(all=True, filters={"label": TEMPORARY_LABEL, "status": "created"}):
        if container["Created"] < old:
            with contextlib.suppress(APIError):  # another worker removes it
                api.remove_container(container["Id"], force=True)
    for tag in (tag for image in api.images(name=BUILD_NAME) for tag in image["RepoTags"]):
        made = re.fullmatch(rf"{BUILD_NAME}:(\d+)-\w+", tag)
        if made and float(made[1]) < old:
            with contextlib.suppress(APIError):
                api.remove_image(tag)
