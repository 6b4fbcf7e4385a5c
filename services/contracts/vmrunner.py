"""vmrunner@HOST: qemu processes of one host: delay, bootloader, run, exit, again.

Internal RPC: list_vms() -> [VmReport]     list_data(node_id) -> [DiskData]     capacity() -> Capacity
              diagnose() -> [Check]
Events: VM_CHANGED (VmReport): every transition;  VM_REMOVED (VmRemoved): a node wanted absent is gone from this host;
        nodes hears both
Hears: nodes NODE_WANTED; bootserver NODE_BOOTED, NODE_COPYING
"""

from __future__ import annotations

from dataclasses import dataclass

from services.contracts.hosts import on_host

SERVICE = "vmrunner"

VM_CHANGED = "vm_changed"
VM_REMOVED = "vm_removed"

STOPPED = "stopped"
DELAYING = "delaying"
LOADING = "loading"
BOOTING = "booting"
BOOTED = "booted"
FAILED = "failed"
STATES = (STOPPED, DELAYING, LOADING, BOOTING, BOOTED, FAILED)


def service_on(host: str) -> str:
    return on_host(SERVICE, host)


@dataclass(frozen=True)
class VmReport:
    """The state of one node's machine.

    boot: the `NodeWanted.boot` it answers; run: counts every power-on of this node; sequence: grows with every
    report of this node, over restarts too, so that a late report is told from a new one; since: epoch seconds.
    """

    node_id: int
    name: str
    host: str
    boot: int
    run: int
    sequence: int
    state: str
    since: float
    reason: str


@dataclass(frozen=True)
class VmRemoved:
    node_id: int
    name: str
    host: str


@dataclass(frozen=True)
class DiskData:
    """What a node has written to one of its disks: `used_bytes` of the server's disk space, `written` when anything
    was changed since the disk was made, and is not discarded by its next boot anyway (hybrid-boot-v). A disk that no boot
    has made yet is not listed."""

    disk_id: int
    used_bytes: int
    written: bool


@dataclass(frozen=True)
class Capacity:
    """What the host has. memory_factor: how far its operator lets the memory of running nodes be over-committed."""

    cpu_cores: int
    ram_bytes: int
    memory_factor: float
