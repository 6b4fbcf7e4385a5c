"""Whether the host has the memory for one more machine. Pure.

Two limits, since memory may be over-committed (guests with the same image share pages, few fill their ram):
  promised   the ram of all running machines stays below what the operator allows: factor × the host's memory
  free       what the kernel calls available stays above a reserve while the machine boots

Who fits is let in; there is no queue, in which every boot would wait behind one large machine for others to end. What a
machine was promised stays its own while it boots again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

RESERVE_BYTES = 256 * 2**20

# A guest with 512M has touched about a quarter of it by the time it is booted (the rest of its kernel's memory is
# untouched, hence not the host's); qemu itself takes some more. What it grows to later, the next admission sees.
EARLY_PART = 4
QEMU_BYTES = 64 * 2**20


@dataclass(frozen=True)
class HostMemory:
    host: str
    total_bytes: int
    available_bytes: int
    factor: float


@dataclass(frozen=True)
class Tenant:
    """A machine that was let in. resident_bytes: what it holds of the host's memory so far."""

    ram_bytes: int
    resident_bytes: int


@dataclass(frozen=True)
class Enter:
    """It may start."""


@dataclass(frozen=True)
class Wait:
    """Not now; it may when others have ended."""

    sentence: str


@dataclass(frozen=True)
class Never:
    """Not on this host."""

    sentence: str


Verdict = Enter | Wait | Never


def admit(memory: HostMemory, tenants: Iterable[Tenant], ram_bytes: int) -> Verdict:
    inside = list(tenants)
    if ram_bytes > memory.total_bytes:
        return Never(
            f"host {memory.host} has {gib(memory.total_bytes)} GiB of memory, this node wants {gib(ram_bytes)}"
        )
    limit_bytes, promised_bytes = allowed_bytes(memory), sum(one.ram_bytes for one in inside)
    if promised_bytes + ram_bytes > limit_bytes:
        if ram_bytes > limit_bytes:
            return Never(f"host {memory.host} may promise {gib(limit_bytes)} GiB, this node wants {gib(ram_bytes)}")
        return Wait(
            f"waits for memory: host {memory.host} has promised {gib(promised_bytes)} of {gib(limit_bytes)} GiB, "
            f"this node wants {gib(ram_bytes)}"
        )
    # Those that were let in a moment ago have not taken yet what they will.
    coming_bytes = sum(max(0, early_bytes(one.ram_bytes) - one.resident_bytes) for one in inside)
    wanted_bytes = early_bytes(ram_bytes) + RESERVE_BYTES
    if memory.available_bytes - coming_bytes < wanted_bytes:
        return Wait(f"waits for memory: less than {gib(wanted_bytes)} GiB of host {memory.host} is free for this node")
    return Enter()


def allowed_bytes(memory: HostMemory) -> int:
    return int(memory.factor * memory.total_bytes)


def early_bytes(ram_bytes: int) -> int:
    """What a machine takes of the host until it is booted."""
    return ram_bytes // EARLY_PART + QEMU_BYTES


def gib(amount_bytes: int) -> str:
    return f"{amount_bytes / 2**30:.1f}"
