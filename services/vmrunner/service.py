"""vmrunner@HOST: the virtual machines of one host.

Owns:       qemu and its life cycle; disks; the host's memory; the cache of kernels and initrds; the choice of
            accelerator.
Serves:     list_vms, list_data, capacity, diagnose (services).
Announces:  VM_CHANGED at every transition, VM_REMOVED.
Hears:      nodes NODE_WANTED; bootserver NODE_BOOTED, NODE_COPYING; asks nodes at start and now and then, for what was lost.

A machine is a process of this host or, in compose, a container of its own (vm.py: what both have; launch.py: what the
image of the machines needs). Either outlives this service.

Environment: WALT_VM_LAUNCHER  process (default) or container: then WALT_VM_IMAGE (default walt-vm) and COMPOSE_PROJECT_NAME
             WALT_QEMU      qemu binary (default qemu-system-x86_64)
             WALT_ACCEL     auto (default: KVM if a kernel boots under it, else TCG), kvm or tcg
             WALT_SOFT_END_S     how long a guest with disks may take to shut down (default 20)
             WALT_MEMORY_FACTOR  how much ram all running machines may have: so many times the host's memory (default 1.5)
             folders `vmrunner` in WALT_STATE_DIR and WALT_RUN_DIR
"""

from __future__ import annotations

from typing import Any

from nameko.events import event_handler

from services.contracts import bootserver, nodes, vmrunner, wire
from services.contracts.bootserver import NodeBooted, NodeCopying
from services.contracts.nodes import NodeWanted
from services.kit.entrypoints import internal
from services.kit.metrics import Metrics
from services.vmrunner.machines import Machines


def service_for(host: str) -> type:
    class VmRunner:
        name = vmrunner.service_on(host)

        metrics = Metrics()
        machines = Machines()

        @internal
        def list_vms(self) -> list[dict[str, Any]]:
            return wire.dump_all(self.machines.fleet.reports())

        @internal
        def list_data(self, node_id: int) -> list[dict[str, Any]]:
            return wire.dump_all(self.machines.disks.data(node_id))

        @internal
        def capacity(self) -> dict[str, Any]:
            return wire.dump(self.machines.memory.capacity())

        @internal
        def diagnose(self) -> list[dict[str, Any]]:
            return wire.dump_all(self.machines.diagnose())

        @event_handler(nodes.SERVICE, nodes.NODE_WANTED)
        def on_node_wanted(self, payload: dict[str, Any]) -> None:
            self.machines.wish(wire.load(NodeWanted, payload))

        @event_handler(bootserver.SERVICE, bootserver.NODE_BOOTED)
        def on_node_booted(self, payload: dict[str, Any]) -> None:
            self.machines.fleet.booted(wire.load(NodeBooted, payload))

        @event_handler(bootserver.SERVICE, bootserver.NODE_COPYING)
        def on_node_copying(self, payload: dict[str, Any]) -> None:
            self.machines.fleet.copying(wire.load(NodeCopying, payload))

    return VmRunner
