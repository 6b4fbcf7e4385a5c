"""What vmrunner may have its launcher do, which holds the Docker socket: fixed verbs, with numbers and one random name.

No argv, no path, no image and no option of the engine can be said. What qemu is told and which files it has go from
vmrunner to the container itself, by a socket of the network namespace that both share (container_entrypoint.py).

A connection to the unix socket carries one request and one answer, a line of JSON each:
    {"verb": "start_vm", "request": {...}}   ->   {"result": ...}  or  {"error": {"kind": "refused", "message": "..."}}
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Annotated

from marshmallow.validate import OneOf, Range, Regexp

LAUNCHER_SOCKET = "/run/walt-launcher/socket"
LINE_BYTES = 4096
WAIT_STEP_S = 60.0  # the longest answer to wait_vm; who waits on asks again
CPU_SHARES, MIN_CPU_SHARES = 1024, 2  # the default of a container; the least that the engine takes
FIRST_FILE = 200  # in the container, above all that its entry point has open itself

REFUSED, AWAY, INVALID, FAILED = "refused", "away", "invalid", "failed"  # kinds of errors

NodeId = Annotated[int, Range(min=1, max=2**53)]
Id = Annotated[int, Range(min=1, max=2**31 - 1)]  # of a user or a group
SocketName = Annotated[str, Regexp(r"walt-[0-9a-f]{32}\Z")]


@dataclass(frozen=True)
class StartVm:
    """socket: abstract, on which vmrunner waits for the container. kvm_group: that may open /dev/kvm, if one may."""

    node_id: NodeId
    run: Annotated[int, Range(min=0, max=2**53)]
    uid: Id
    ram_bytes: Annotated[int, Range(min=1, max=2**50)]
    cpu_cores: Annotated[int, Range(min=1, max=2**10)]
    socket: SocketName
    has_kvm: bool = False
    kvm_group: Id | None = None


@dataclass(frozen=True)
class StartTrial:
    """A container without a name of a node, for questions to qemu; one at a time."""

    uid: Id
    socket: SocketName
    has_kvm: bool = False
    kvm_group: Id | None = None


@dataclass(frozen=True)
class WaitTrial:
    limit_s: Annotated[float, Range(min=0, max=600)]


@dataclass(frozen=True)
class OneVm:
    node_id: NodeId


@dataclass(frozen=True)
class SignalVm:
    node_id: NodeId
    number: Annotated[int, OneOf([int(signal.SIGTERM), int(signal.SIGKILL)])]


@dataclass(frozen=True)
class WeighVm:
    node_id: NodeId
    cpu_shares: Annotated[int, Range(min=MIN_CPU_SHARES, max=CPU_SHARES)]


@dataclass(frozen=True)
class Nothing:
    """A verb without a request."""


VERBS: dict[str, type] = {
    "image_id": Nothing,
    "list_vms": Nothing,
    "start_vm": StartVm,
    "find_vm": OneVm,
    "usage": OneVm,
    "signal_vm": SignalVm,
    "weigh_vm": WeighVm,
    "wait_vm": OneVm,
    "remove_vm": OneVm,
    "start_trial": StartTrial,
    "wait_trial": WaitTrial,
    "remove_trial": Nothing,
}
