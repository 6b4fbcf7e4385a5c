"""Whether the host has memory for one more VM. Pure.

Two limits, since memory may be over-committed (guests with the same image share pages, few fill their ram):
  promised   the ram of all running VMs stays below what the operator allows: factor × the host's memory
  free       what the kernel calls available stays above a reserve while the VM boots

A VM that fits is admitted. There is no queue, in which every boot would wait behind one large VM for others to end. A
VM keeps what it was promised while it boots again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

RESERVE_BYTES = 256 * 2**20

# A guest with 512M has touched about a quarter of it when it has booted (the host provides no memory for the rest);
# qemu itself takes some more. Later growth is seen by the next admission.
EARLY_PART = 4
QEMU_BYTES = 64 * 2**20


@dataclass(frozen=True)
class HostMemory:
    host: str
    total_bytes: int
    available_bytes: int
    factor: float


@dataclass(frozen=True)
class Promise:
    """To a VM that was admitted. resident_bytes: how much of the host's memory it has taken so far."""

    ram_bytes: int
    resident_bytes: int


@dataclass(frozen=True)
class Admit:
    """It may start."""


@dataclass(frozen=True)
class Wait:
    """Not now, but perhaps when others have ended."""

    sentence: str


@dataclass(frozen=True)
class Reject:
    """Never on this host."""

    sentence: str


Verdict = Admit | Wait | Reject


def admit(memory: HostMemory, promises: Iterable[Promise], ram_bytes: int) -> Verdict:
    admitted = list(promises)
    if ram_bytes > memory.total_bytes:
        return Reject(
            f"host {memory.host} has {gib(memory.total_bytes)} GiB of memory, this node needs {gib(ram_bytes)}"
        )
    limit_bytes, promised_bytes = allowed_bytes(memory), sum(one.ram_bytes for one in admitted)
    if promised_bytes + ram_bytes > limit_bytes:
        if ram_bytes > limit_bytes:
            return Reject(f"host {memory.host} may promise {gib(limit_bytes)} GiB, this node needs {gib(ram_bytes)}")
        return Wait(
            f"waits for memory: host {memory.host} has promised {gib(promised_bytes)} of {gib(limit_bytes)} GiB, "
            f"this node needs {gib(ram_bytes)}"
        )
    # Those that were admitted a moment ago will take more than they have so far.
    coming_bytes = sum(max(0, early_bytes(one.ram_bytes) - one.resident_bytes) for one in admitted)
    wanted_bytes = early_bytes(ram_bytes) + RESERVE_BYTES
    if memory.available_bytes - coming_bytes < wanted_bytes:
        return Wait(f"waits for memory: less than {gib(wanted_bytes)} GiB of host {memory.host} is free for this node")
    return Admit()


def allowed_bytes(memory: HostMemory) -> int:
    return int(memory.factor * memory.total_bytes)


def early_bytes(ram_bytes: int) -> int:
    """How much of the host's memory a VM takes until it has booted."""
    return ram_bytes // EARLY_PART + QEMU_BYTES


def gib(amount_bytes: int) -> str:
    return f"{amount_bytes / 2**30:.1f}"
