"""The containers of VMs, on a Docker Engine: what each may do is decided here, and nowhere else.

A VM's container has no folder, no capability, no way to gain a privilege and no device but /dev/kvm. It has the network
of the container `world`, where its taps are, and that one's PID namespace: so it outlives vmrunner, and ends with the
world (`docker compose down` leaves none behind). The engine removes it at its end. Its methods are the verbs of
`protocol.py`.
"""

from __future__ import annotations

import contextlib
from typing import Any

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from requests.exceptions import RequestException

from services.kit.docker import engine_errors
from services.vmrunner.launcher.protocol import (
    FIRST_FILE,
    WAIT_STEP_S,
    Nothing,
    OneVm,
    SignalVm,
    StartTrial,
    StartVm,
    WaitTrial,
    WeighVm,
)
from services.vmrunner.uids import UidRange
from walt.contracts.errors import Failed, InvalidRequest

OVERHEAD_BYTES = 512 * 2**20  # of qemu itself, its translation cache for the most part
THREADS = 128  # of qemu, beside one per processor
KVM_DEVICE = "/dev/kvm"
OWN_SERVICE = "vmrunner"  # in the compose file, whose namespaces the containers share
LABEL_INSTANCE, LABEL_NODE, LABEL_RUN = "walt.instance", "walt.node", "walt.run"


class DockerVms:
    """image: of the containers. project: of the compose file. uids: of the users who may run them.
    world: 'container:ID', whose namespaces they join; '': the one whose network vmrunner's own container has."""

    def __init__(self, image: str, project: str, uids: UidRange, world: str = "") -> None:
        self._image = image
        self._project = project
        self._uids = uids
        self._world = world
        self._connection: docker.DockerClient | None = None

    def image_id(self, _: Nothing) -> str:
        with engine_errors():
            return str(self._client.images.get(self._image).id)

    def list_vms(self, _: Nothing) -> list[int]:
        """Ids of the nodes that have a container, also one that is about to end."""
        with engine_errors():
            filters = {"label": [f"{LABEL_INSTANCE}={self._project}", LABEL_NODE]}
            found = self._client.api.containers(all=True, filters=filters)
        return [int(one["Labels"][LABEL_NODE]) for one in found]

    def start_vm(self, vm: StartVm) -> int:
        """The process of its container, in the PID namespace of the host."""
        labels = {LABEL_INSTANCE: self._project, LABEL_NODE: str(vm.node_id), LABEL_RUN: str(vm.run)}
        return self._start(
            self._name(vm.node_id),
            vm,
            labels=labels,
            mem_limit=vm.ram_bytes + OVERHEAD_BYTES,
            pids_limit=vm.cpu_cores + THREADS,
            auto_remove=True,
        )

    def find_vm(self, vm: OneVm) -> int | None:
        """The process of its container that runs, None when there is none."""
        container = self._find(self._name(vm.node_id))
        if container is None or not container.attrs["State"]["Running"]:
            return None
        return int(container.attrs["State"]["Pid"])

    def usage(self, vm: OneVm) -> list[float] | None:
        """Seconds of processors, bytes of memory; None once it is gone."""
        with engine_errors(), contextlib.suppress(NotFound, KeyError):  # KeyError: it is just ending
            stats = self._client.containers.get(self._name(vm.node_id)).stats(stream=False, one_shot=True)
            memory = stats["memory_stats"]["stats"]
            resident_bytes = memory["anon"] if "anon" in memory else memory["rss"]  # control groups v2, v1
            return [stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9, resident_bytes]
        return None

    def signal_vm(self, vm: SignalVm) -> None:
        with engine_errors(), contextlib.suppress(APIError):  # it is gone, or about to be
            self._client.containers.get(self._name(vm.node_id)).kill(vm.number)

    def weigh_vm(self, vm: WeighVm) -> None:
        with engine_errors(), contextlib.suppress(NotFound):
            self._client.containers.get(self._name(vm.node_id)).update(cpu_shares=vm.cpu_shares)

    def wait_vm(self, vm: OneVm) -> bool:
        """Whether it is gone; at the latest after WAIT_STEP_S."""
        with engine_errors():
            try:
                self._client.containers.get(self._name(vm.node_id)).wait(timeout=WAIT_STEP_S, condition="removed")
            except NotFound:
                return True
            except RequestException as error:
                if _is_timeout(error):
                    return False
                raise
        return True

    def remove_vm(self, vm: OneVm) -> None:
        self._remove(self._name(vm.node_id))

    def start_trial(self, trial: StartTrial) -> int:
        self._remove(self._trial)  # what another process may have left
        return self._start(self._trial, trial)

    def wait_trial(self, wait: WaitTrial) -> int | None:
        """Its exit status; None when it has not ended within the limit."""
        with engine_errors():
            try:
                return int(self._client.containers.get(self._trial).wait(timeout=wait.limit_s)["StatusCode"])
            except RequestException as error:
                if _is_timeout(error):
                    return None
                raise

    def remove_trial(self, _: Nothing) -> None:
        self._remove(self._trial)

    @property
    def _trial(self) -> str:
        return f"{self._project}-vm-trial"

    def _name(self, node_id: int) -> str:
        """The engine has one container of a name, hence one VM of a node."""
        return f"{self._project}-vm-{node_id}"

    def _start(self, name: str, wanted: StartVm | StartTrial, **options: Any) -> int:
        if not self._uids.first <= wanted.uid <= self._uids.last:
            raise InvalidRequest(f"user {wanted.uid} runs no VM; allowed: {self._uids.first} to {self._uids.last}")
        if wanted.has_kvm:
            group = [] if wanted.kvm_group is None else [wanted.kvm_group]
            options |= {"devices": [f"{KVM_DEVICE}:{KVM_DEVICE}:rw"], "group_add": group}
        with engine_errors():
            container = self._client.containers.create(
                self._image,
                [wanted.socket, str(FIRST_FILE)],
                name=name,
                user=f"{wanted.uid}:{wanted.uid}",
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                read_only=True,
                network_mode=self._namespaces(),
                pid_mode=self._namespaces(),
                log_config={"type": "none"},
                **options,
            )
            try:
                container.start()
                container.reload()  # and with that its process
            except BaseException:
                self._remove(name)
                raise
            return int(container.attrs["State"]["Pid"])

    def _find(self, name: str) -> Container | None:
        with engine_errors():
            try:
                return self._client.containers.get(name)
            except NotFound:
                return None

    def _remove(self, name: str) -> None:
        container = self._find(name)
        if container is None:
            return
        with engine_errors(), contextlib.suppress(NotFound):
            try:
                container.remove(force=True)
            except APIError as error:
                if error.status_code != 409:  # "removal … is already in progress"
                    raise
                container.wait(condition="removed")

    def _namespaces(self) -> str:
        if not self._world:
            labels = [f"com.docker.compose.project={self._project}", f"com.docker.compose.service={OWN_SERVICE}"]
            own = self._client.api.containers(filters={"label": labels, "status": "running"})
            mode = str(own[0]["HostConfig"]["NetworkMode"]) if own else ""
            if not mode.startswith("container:"):
                found = f"has network_mode {mode}" if own else "is not among the running containers"
                allowed = "COMPOSE_PROJECT_NAME is its project, and its network that of another service"
                raise Failed(f"service {OWN_SERVICE} of compose project {self._project} {found}; allowed: {allowed}")
            self._world = mode
        return self._world

    @property
    def _client(self) -> docker.DockerClient:
        if self._connection is None:
            self._connection = docker.from_env()
        return self._connection


def _is_timeout(error: RequestException) -> bool:
    """The SDK raises ReadTimeout or, of a connection that it keeps, ConnectionError with urllib3's timeout in it."""
    return "timed out" in str(error)
