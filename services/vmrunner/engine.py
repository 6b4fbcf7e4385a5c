"""The Docker Engine: starts a container with files that are open here, and nothing else; finds and removes it.

The launcher of the image (launch.py) gets the files. All containers here share the network and the process namespace of
the one that holds the world.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.models.containers import Container
from requests.exceptions import RequestException

from services.contracts.errors import Failed
from services.vmrunner.vm import START_LIMIT_S

FIRST_FILE = 200  # in the launcher, above all that it has open itself
TROUBLE = (DockerException, RequestException)
OWN_SERVICE = "vmrunner"  # in the compose file


class Engine:
    """image: of the containers, which run as user and group `uid`. project: of the compose file.
    world: 'container:ID', whose namespaces they join; '': the one whose network vmrunner's own container has."""

    def __init__(self, image: str, uid: int, project: str, world: str = "") -> None:
        self.project = project
        self._image = image
        self._uid = uid
        self._world = world
        self._turn = threading.Lock()
        self._connection: docker.DockerClient | None = None

    def image_id(self) -> str:
        with engine_trouble():
            return str(self._client.images.get(self._image).id)

    def find(self, name: str) -> Container | None:
        with engine_trouble():
            try:
                return self._client.containers.get(name)
            except NotFound:
                return None

    def labels(self, *filters: str) -> list[dict[str, str]]:
        """The labels of each container that has those of the filters, 'NAME' or 'NAME=VALUE'."""
        with engine_trouble():
            found = self._client.api.containers(all=True, filters={"label": list(filters)})
        return [one["Labels"] for one in found]

    def start(self, argv: Sequence[str], files: Sequence[int], **options: Any) -> Container:
        """Start a container and give it these files, the first three as its standard ones."""
        name = f"walt-{secrets.token_hex(16)}"
        with contextlib.ExitStack() as undo, socket.socket(socket.AF_UNIX) as listener, engine_trouble():
            listener.bind(f"\0{name}")
            listener.listen(1)
            listener.settimeout(START_LIMIT_S)
            container = self._client.containers.create(
                self._image,
                [name, str(FIRST_FILE)],
                user=f"{self._uid}:{self._uid}",
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                read_only=True,
                network_mode=self._worlds_name(),
                pid_mode=self._worlds_name(),
                log_config={"type": "none"},
                **options,
            )
            undo.callback(remove, container)
            container.start()
            self._hand_over(listener, "".join(f"{word}\0" for word in argv), files)
            undo.pop_all()
            return container

    def perform(self, argv: Sequence[str], files: Sequence[int] = (), limit_s: float = 10, **options: Any) -> str:
        """What a program in such a container prints to its end; Failed as kit.commands has it. One after the other."""
        name = f"{self.project}-vm-trial"
        with self._turn, contextlib.ExitStack() as stack:
            left = self.find(name)
            if left is not None:
                remove(left)
            reader, writer = os.pipe()
            output = stack.enter_context(open(reader, "rb"))
            with open(writer, "wb"), open(os.devnull, "rb") as nothing:
                container = self.start(argv, [nothing.fileno(), writer, writer, *files], name=name, **options)
            stack.callback(remove, container)
            try:
                status = container.wait(timeout=limit_s)["StatusCode"]
            except RequestException:
                raise Failed(f"{argv[0]}: no end after {limit_s:g} s") from None
            remove(container)  # and with it the last writer
            text = output.read().decode(errors="replace")
        if status:
            raise Failed(f"{argv[0]}: status {status}: {text.strip()[-2000:]}")
        return text

    def _hand_over(self, listener: socket.socket, request: str, files: Sequence[int]) -> None:
        """The name of the socket is nobody else's to know; its user is looked at all the same."""
        try:
            launcher, _ = listener.accept()
        except TimeoutError:
            raise Failed(f"the container of image {self._image} does not report within {START_LIMIT_S:g} s") from None
        with launcher:
            _, uid, _ = struct.unpack("3i", launcher.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if uid != self._uid:
                raise Failed(f"user {uid} asks for the files of a machine, not {self._uid}")
            socket.send_fds(launcher, [request.encode()], list(files))

    def _worlds_name(self) -> str:
        if not self._world:
            labels = [f"com.docker.compose.project={self.project}", f"com.docker.compose.service={OWN_SERVICE}"]
            own = self._client.api.containers(filters={"label": labels, "status": "running"})
            mode = str(own[0]["HostConfig"]["NetworkMode"]) if own else ""
            if not mode.startswith("container:"):
                found = f"has network_mode {mode}" if own else "is not to be found among the running containers"
                wanted = "COMPOSE_PROJECT_NAME is its project, and its network that of another service"
                raise Failed(f"service {OWN_SERVICE} of compose project {self.project} {found}; wanted: {wanted}")
            self._world = mode
        return self._world

    @property
    def _client(self) -> docker.DockerClient:
        if self._connection is None:
            self._connection = docker.from_env()
        return self._connection


@contextlib.contextmanager
def engine_trouble() -> Iterator[None]:
    """As a sentence."""
    try:
        yield
    except ImageNotFound as error:
        raise Failed(f"the Docker Engine has no such image: {error.explanation}") from None
    except APIError as error:
        raise Failed(f"the Docker Engine refuses: {error.explanation or error}") from None
    except (DockerException, RequestException) as error:
        raise Failed(f"the Docker Engine does not answer: {error}") from None


def remove(container: Container) -> None:
    with engine_trouble(), contextlib.suppress(NotFound):
        try:
            container.remove(force=True)
        except APIError as error:
            if error.status_code != 409:  # "removal … is already in progress"
                raise
            container.wait(condition="removed")
