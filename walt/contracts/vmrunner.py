"""vmrunner@HOST: the VMs of one host: delay, bootloader, run, exit, again.

Internal RPC: list_vms() -> [VmReport]     list_data(node_id) -> [DiskData]     capacity() -> Capacity
              diagnose() -> [Check]
              persist_bytes(node_id) -> {owner: int}     on the disks for /persist that hold files, former owners' too
              list_trash() -> [TrashedDisk]     empty_trash(disks)
              list_moving(node_id, move) -> MovingDisks     of a node that leaves, once its VM has ended; this and
                                                            read_moving: also agents of the host to which it goes
              read_moving(node_id, move, name, offset) -> MovingPiece     of one of these files
              claim_trash(disk, node_id, account)     kept for this node and owner, until its next boot takes it back
Events of `vmrunner`, whichever host they come from; nodes hears both:
        AGENT_PRESENT (walt/contracts/hosts.py): now and then
        VM_CHANGED (VmReport): every transition;  VM_REMOVED (VmRemoved): a node whose spec is ABSENT is removed
Hears: nodes NODE_WANTED; bootserver NODE_BOOTED, NODE_REACHABLE, NODE_COPYING
"""

from __future__ import annotations

from dataclasses import dataclass

from walt.contracts.agent_names import on_host

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

# `VmReport.cause`: what led to the state. The state says what came of it: "no-boot" while DELAYING is a retry, while
# FAILED the end of the retries. Two reports of a node with the same boot, state and cause differ at most in the figures
# of their sentences. DELAYING, LOADING and BOOTING carry the cause of their boot, unless they have one of their own.

# Requested by a user:
CAUSE_POWERED_ON = "powered-on"
CAUSE_REBOOT_REQUESTED = "reboot-requested"
CAUSE_STOP_REQUESTED = "stop-requested"
# The guest, or its qemu, ended:
CAUSE_GUEST_REBOOTED = "guest-rebooted"
CAUSE_GUEST_POWERED_OFF = "guest-powered-off"
CAUSE_GUEST_HALTED = "guest-halted"  # it ran on, without a system
CAUSE_GUEST_PANICKED = "guest-panicked"
CAUSE_CRASHED = "crashed"
CAUSE_KILLED = "killed"
CAUSE_ENDED_UNSEEN = "ended-unseen"  # while its agent was away
CAUSE_ENDED = "ended"  # in a way that has no code here
# On its way, and there:
CAUSE_NEVER_STARTED = "never-started"
CAUSE_COPYING_IMAGE = "copying-image"  # to its disk; BOOTING
CAUSE_SSH_ANSWERS = "ssh-answers"  # BOOTED
CAUSE_NO_ANSWER = "no-answer"  # BOOTED: it does not answer any more; STOPPED: a physical node that does not
CAUSE_NO_BOOT = "no-boot"  # its ssh server did not answer within boot.timeout
# The host could not do it:
CAUSE_NO_MEMORY = "no-memory"  # DELAYING: not now; FAILED: never on this host
CAUSE_MOVING = "moving"  # DELAYING, STOPPED: its disks come from another host
CAUSE_NO_SPACE = "no-space"  # BOOTED: it is paused, as the disk of its host is nearly full
CAUSE_WAITS_FOR_SLOT = "waits-for-slot"  # DELAYING: as many nodes as it has CPUs boot on its host already
CAUSE_PEER_AWAY = "peer-away"  # another service does not answer
CAUSE_BOOT_SCRIPT = "boot-script"  # its script, kernel or initrd cannot be had or run
CAUSE_CANNOT_START = "cannot-start"  # any other fault of the host
# Physical nodes only:
CAUSE_NOT_BACK = "not-back"  # it was rebooted and has not asked what to boot since
CAUSE_COMMAND_FAILED = "command-failed"  # it could not be told to reboot or to power off
CAUSE_STILL_ON = "still-on"  # it was told to power off and answers all the same


def service_on(host: str) -> str:
    return on_host(SERVICE, host)


@dataclass(frozen=True)
class VmReport:
    """The state of one node's VM or, from bootserver, of one physical node's machine.

    boot: the `NodeWanted.boot` it answers; run: counts every power-on of this node; sequence: grows with every
    report of this node, over restarts too, so that a late report is told from a new one; since: epoch seconds.
    cause: a code for why it is in this state (CAUSE_…); "" from an agent of the version before. reason: the same
    as a sentence for people, which may hold figures, such as the progress of a download. arrived: the last move
    (`NodeWanted.move`) of which this host has all disks.
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
    cause: str = ""
    arrived: int = 0


@dataclass(frozen=True)
class VmRemoved:
    node_id: int
    name: str
    host: str


@dataclass(frozen=True)
class DiskData:
    """What a node has written to one of its disks: `used_bytes` of the server's disk space, `written` when anything
    was changed since the disk was made, and is not discarded by its next boot anyway (hybrid-boot-v). A disk that no
    boot has made yet is not listed."""

    disk_id: int
    used_bytes: int
    written: bool


@dataclass(frozen=True)
class TrashedDisk:
    """A disk that was removed and is kept for a while. id: names it on its host; number: of the disk (`Disk.id`), 0 for
    a /persist; size_bytes: of the disk (for /persist its file); used_bytes: of the server's disk space; at: epoch
    seconds of its removal; left_s: until it is deleted; for_node, for_account: the node that gets it at its next boot,
    if its owner is still this account. host: as nodes knows it."""

    id: str
    node: str
    owner: str = ""
    owner_account: str = ""
    number: int = 0
    template: str = ""
    size_bytes: int = 0
    used_bytes: int = 0
    at: float = 0.0
    left_s: float = 0.0
    for_node: int = 0
    for_account: str = ""
    host: str = ""


@dataclass(frozen=True)
class MovingFile:
    """A disk of a node that moves. name: 'disks/7.raw' or 'persist/OWNER~ACCOUNT.raw'; used_bytes: of the disk of its
    host; info: what is kept beside it, "" for nothing."""

    name: str
    size_bytes: int
    used_bytes: int
    modified_ns: int
    info: str = ""


@dataclass(frozen=True)
class MovingDisks:
    """run: of the last power-on (VmReport)."""

    run: int
    files: tuple[MovingFile, ...]


@dataclass(frozen=True)
class MovingPiece:
    """The next bytes of a file that are not all zero. offset: where they are; data: zlib, then base64, "" for none as
    far as was looked; digest: their SHA-256; next: where the next piece is to be looked for, -1 at the end."""

    offset: int
    data: str
    digest: str
    next: int


@dataclass(frozen=True)
class Capacity:
    """What the host has. memory_factor: how far its operator lets the memory of running nodes be over-committed."""

    cpu_cores: int
    ram_bytes: int
    memory_factor: float
