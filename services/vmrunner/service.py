"""vmrunner@HOST: the virtual machines of one host.

Owns:       qemu and its life cycle; its interfaces and their carriers; disks; the host's memory; the cache of kernels
            and initrds; the choice of accelerator.
Serves:     list_vms, list_data, persist_bytes, list_trash, claim_trash, empty_trash, capacity, diagnose
            (services); list_moving, read_moving (services, the agents of the further host to which a node moves).
Announces:  VM_CHANGED at every transition, VM_REMOVED, AGENT_PRESENT (as `vmrunner`, of every host).
Hears:      nodes NODE_WANTED (interfaces, carriers: live); bootserver NODE_BOOTED, NODE_REACHABLE, NODE_COPYING. An
            event may be lost: at start and every 30 s it calls nodes get_specs.

A VM is a process of this host or, in compose, a container (qemu/vm.py: what both have in common;
container_entrypoint.py: what the container's image needs). Either outlives this service.

Environment: WALT_VM_LAUNCHER  process (default), container: then WALT_LAUNCHER_SOCKET (of the process that
                               launcher/__main__.py is), or stub: machines that are none, for benchmarks
             WALT_VM_UIDS   users of the VMs, one for each, and first one for trials: FIRST-LAST, numbers that the host
                            gives to nobody else (default 2013265920-2013331455)
             WALT_QEMU      qemu binary (default qemu-system-x86_64)
             WALT_ACCEL     auto (default: KVM if a kernel boots under it, else TCG), kvm or tcg
             WALT_SOFT_END_S     how long a guest with disks may take to shut down (default 20)
             WALT_MEMORY_FACTOR  how much ram all running VMs may have: so many times the host's memory (default 1.5)
             WALT_DISK_FLOOR     how much of the disk stays free: VMs that write below it are paused (default 4G)
             WALT_TRASH_HOURS    how long a removed disk that holds data can be given back (default 72; 0: not at all)
             WALT_BOOT_SLOTS     how many VMs boot at once (default auto: as many as the host has CPUs)
             WALT_PERSIST_FOLDERS  where versions before kept /persist (default STATE_DIR/bootserver/persist); each is
                                   copied to a disk at the next boot of its node
             folders `vmrunner` in WALT_STATE_DIR and WALT_RUN_DIR
"""

from __future__ import annotations

from services.kit.bus.app import AppProvider
from services.kit.bus.call_metrics import Metrics
from services.kit.bus.entrypoints import Caller, for_agents, internal, on_event
from services.vmrunner.app import VmrunnerApp
from walt.contracts import bootserver, nodes, vmrunner
from walt.contracts.bootserver import NodeBooted, NodeCopying, NodeReachable
from walt.contracts.checks import Check
from walt.contracts.nodes import NodeWanted
from walt.contracts.vmrunner import Capacity, DiskData, MovingDisks, MovingPiece, TrashedDisk, VmReport


class VmrunnerService:
    name = vmrunner.SERVICE

    app: VmrunnerApp = AppProvider(VmrunnerApp)
    caller: str = Caller()
    metrics = Metrics()

    @internal
    def list_vms(self) -> list[VmReport]:
        return self.app.fleet.all_reports()

    @internal
    def list_data(self, node_id: int) -> list[DiskData]:
        return self.app.disks.data(node_id)

    @internal
    def persist_bytes(self, node_id: int) -> dict[str, int]:
        return self.app.persist.bytes_used(node_id)

    @internal
    def list_trash(self) -> list[TrashedDisk]:
        return self.app.trash.disks()

    @internal
    def claim_trash(self, disk: str, node_id: int, account: str) -> None:
        self.app.trash.claim(disk, node_id, account)

    @internal
    def empty_trash(self, disks: tuple[str, ...]) -> None:
        self.app.trash.remove(disks)

    @for_agents
    def list_moving(self, node_id: int, move: int) -> MovingDisks:
        return self.app.list_moving(node_id, move, self.caller)

    @for_agents
    def read_moving(self, node_id: int, move: int, name: str, offset: int) -> MovingPiece:
        return self.app.read_moving(node_id, move, name, offset, self.caller)

    @internal
    def capacity(self) -> Capacity:
        return self.app.memory.capacity()

    @internal
    def diagnose(self) -> list[Check]:
        return self.app.diagnose()

    @on_event(nodes.SERVICE, nodes.NODE_WANTED)
    def on_node_wanted(self, spec: NodeWanted) -> None:
        self.app.apply(spec)

    @on_event(bootserver.SERVICE, bootserver.NODE_BOOTED)
    def on_node_booted(self, event: NodeBooted) -> None:
        self.app.fleet.hear(event)

    @on_event(bootserver.SERVICE, bootserver.NODE_COPYING)
    def on_node_copying(self, event: NodeCopying) -> None:
        self.app.fleet.hear(event)

    @on_event(bootserver.SERVICE, bootserver.NODE_REACHABLE)
    def on_node_reachable(self, event: NodeReachable) -> None:
        self.app.fleet.hear(event)
