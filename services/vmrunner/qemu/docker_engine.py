"""The Docker Engine: starts a container with files that are open here, and nothing else; finds and removes it.

The entry point of the image (container_entrypoint.py) receives the files. All these containers share the network and
the PID namespace of the container `world`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import struct
import threading
from collections.abc import Sequence
from typing import Any

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from requests.exceptions import RequestException

from services.kit.docker import engine_errors
from services.vmrunner.qemu.vm import START_LIMIT_S
from walt.contracts.errors import Failed

FIRST_FILE = 200  # in the container, above all that its entry point has open itself
OWN_SERVICE = "vmrunner"  # in the compose file


class DockerEngine:
    """image: of the containers. project: of the compose file.
    world: 'container:ID', whose namespaces they join; '': the one whose network vmrunner's own container has."""

    def __init__(self, image: str, project: str, world: str = "") -> None:
        self.project = project
        self._image = image
        self._world = world
        self._turn = threading.Lock()
        self._connection: docker.DockerClient | None = None

    def image_id(self) -> str:
        with engine_errors():
            return str(self._client.images.get(self._image).id)

    def find(self, name: str) -> Container | None:
        with engine_errors():
            try:
                return self._client.containers.get(name)
            except NotFound:
                return None

    def labels(self, *filters: str) -> list[dict[str, str]]:
        """The labels of each container that has those of the filters, 'NAME' or 'NAME=VALUE'."""
        with engine_errors():
            found = self._client.api.containers(all=True, filters={"label": list(filters)})
        return [one["Labels"] for one in found]

    def start(self, argv: Sequence[str], files: Sequence[int], *, uid: int, **options: Any) -> Container:
        """Start a container and give it these open files, the first three as its standard input, output and error. uid:
        its user and group."""
        name = f"walt-{secrets.token_hex(16)}"
        with contextlib.ExitStack() as undo, socket.socket(socket.AF_UNIX) as listener, engine_errors():
            listener.bind(f"\0{name}")
            listener.listen(1)
            listener.settimeout(START_LIMIT_S)
            container = self._client.containers.create(
                self._image,
                [name, str(FIRST_FILE)],
                user=f"{uid}:{uid}",
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                read_only=True,
                network_mode=self._namespaces(),
                pid_mode=self._namespaces(),
                log_config={"type": "none"},
                **options,
            )
            undo.callback(remove, container)
            container.start()
            self._hand_over(listener, uid, "".join(f"{argument}\0" for argument in argv), files)
            undo.pop_all()
            return container

    def perform(self, argv: Sequence[str], files: Sequence[int] = (), limit_s: float = 10, **options: Any) -> str:
        """The output of a program that runs in such a container to its end; Failed as `kit.subprocesses.run`. One at a
        time."""
        name = f"{self.project}-vm-trial"
        with self._turn, contextlib.ExitStack() as stack:
            leftover = self.find(name)
            if leftover is not None:
                remove(leftover)
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

    def _hand_over(self, listener: socket.socket, uid: int, request: str, files: Sequence[int]) -> None:
        """The name of the socket is a secret; the user of the process that connects is checked all the same."""
        try:
            receiver, _ = listener.accept()
        except TimeoutError:
            raise Failed(f"the container of image {self._image} does not report within {START_LIMIT_S:g} s") from None
        with receiver:
            _, peer_uid, _ = struct.unpack("3i", receiver.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if peer_uid != uid:
                raise Failed(f"user {peer_uid} requests the files of a VM; allowed: user {uid}")
            socket.send_fds(receiver, [request.encode()], list(files))

    def _namespaces(self) -> str:
        if not self._world:
            labels = [f"com.docker.compose.project={self.project}", f"com.docker.compose.service={OWN_SERVICE}"]
            own = self._client.api.containers(filters={"label": labels, "status": "running"})
            mode = str(own[0]["HostConfig"]["NetworkMode"]) if own else ""
            if not mode.startswith("container:"):
                found = f"has network_mode {mode}" if own else "is not among the running containers"
                allowed = "COMPOSE_PROJECT_NAME is its project, and its network that of another service"
                raise Failed(f"service {OWN_SERVICE} of compose project {self.project} {found}; allowed: {allowed}")
            self._world = mode
        return self._world

    @property
    def _client(self) -> docker.DockerClient:
        if self._connection is None:
            self._connection = docker.from_env()
        return self._connection


def remove(container: Container) -> None:
    with engine_errors(), contextlib.suppress(NotFound):
        try:
            container.remove(force=True)
        except APIError as error:
            if error.status_code != 409:  # "removal … is already in progress"
                raise
            container.wait(condition="removed")
