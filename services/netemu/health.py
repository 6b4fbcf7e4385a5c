"""What `walt doctor` is told about links on this host."""

from __future__ import annotations

import os
from pathlib import Path

from services.contracts.health import FAIL, OK, WARN, Check
from services.contracts.names import WALT_NET
from services.contracts.netemu import KERNEL
from services.kit import registry
from services.netemu.binding import Bindings
from services.netemu.emulation import Emulation
from services.netemu.physical import Physical
from services.netemu.plan import BROKEN, World
from services.netemu.traffic import CableState

BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


def checks(emulation: Emulation, bindings: Bindings, physical: Physical, registry_fault: str) -> list[Check]:
    world, cable = emulation.world(), emulation.cable.show()
    return [
        _walt_net(world),
        _backend(emulation),
        *_cable(emulation, cable),
        _platform(world),
        _bindings(bindings),
        *_physical(physical),
        _registry(registry_fault),
        *_bridge_filter(),
        _vhost(),
    ]


def _walt_net(world: World) -> Check:
    broken = [
        f"{state.port.node} on {state.port.network.name}" for state in world.ports.values() if state.backend == BROKEN
    ]
    if WALT_NET not in world.bridges:
        found = f"the bridge {WALT_NET} is not ours or not there"
        return Check("walt-net", FAIL, found, "no node can boot", f"remove the interface named {WALT_NET}")
    if broken:
        return Check("ports", FAIL, f"broken: {', '.join(broken)}", "they pass no frame", "see the log of netemu")
    return Check("ports", OK, f"{len(world.ports)} ports, {len(world.bridges)} bridges")


def _backend(emulation: Emulation) -> Check:
    if emulation.shaper == KERNEL:
        found = (
            "back-end kernel: netem; links with a seed, or with reorder and bw, go through the cable (in user space)"
        )
        consequence = "loss, dup and limit take what segmentation offload left whole for one frame"
        return Check("links", OK, found, consequence, "in the node: ethtool -K ens3 tso off gso off")
    found = f"back-end cable (in user space), seeds included: {emulation.no_netem}"
    consequence = "links are exact, but cost CPU time; about 1 Gbit/s in all"
    return Check("links", OK, found, consequence, "a kernel with sch_netem (modprobe sch_netem)")


def _cable(emulation: Emulation, cable: CableState | None) -> list[Check]:
    if cable is None:
        return [] if emulation.shaper == KERNEL else [Check("cable", OK, "not started: no shaped port yet")]
    if cable.realtime:
        return [Check("cable", OK, f"real-time priority; {cable.overhead_us:.0f} us of its own per frame, taken off")]
    consequence = "frames may be late while the host is busy"
    return [
        Check(
            "cable",
            WARN,
            "no real-time priority",
            consequence,
            "give it CAP_SYS_NICE; in a container of a kernel with RT_GROUP_SCHED also cpu_rt_runtime",
        )
    ]


def _platform(world: World) -> Check:
    """What each node's own share of a round trip was measured to be; every port of a node has the same."""
    shares_us = {state.port.node_id: state.port.compensation_us for state in world.ports.values()}
    measured_us = sorted(share_us for share_us in shares_us.values() if share_us)
    if not measured_us:
        return Check("platform latency", OK, "no node measured yet")
    least, most = (f"{share_us / 1000:.2f} ms" for share_us in (measured_us[0], measured_us[-1]))
    figure = least if least == most else f"{least} to {most}"
    nodes = "1 node" if len(measured_us) == 1 else f"{len(measured_us)} nodes"
    return Check("platform latency", OK, f"{figure} per node, measured on {nodes}; taken off what they send")


def _bindings(bindings: Bindings) -> Check:
    if not bindings.fault:
        return Check("addresses", OK, "nodes send from their own addresses on walt-net only")
    consequence = "a node can take another's address, and read what is meant for that one"
    mend = "a kernel with nftables for bridges (NF_TABLES_BRIDGE)"
    return Check("addresses", WARN, f"not bound: {bindings.fault}", consequence, mend)


def _physical(physical: Physical) -> list[Check]:
    if not physical.wanted:
        return []
    if not physical.fault:
        return [Check("interface", OK, f"{physical.wanted} is in {WALT_NET}")]
    consequence = "no physical machine boots from here"
    return [Check("interface", WARN, physical.fault, consequence, "bring the interface, or correct WALT_INTERFACE")]


def _registry(fault: str) -> Check:
    consequence = "no link of this host takes other values and no port is removed; machines keep theirs"
    return registry.diagnosis(fault, "ports", consequence)


def _bridge_filter() -> list[Check]:
    if not BRIDGE_FILTER.exists() or BRIDGE_FILTER.read_text().strip() != "1":
        return []
    consequence = "firewall rules of this namespace also see frames between nodes, and may drop them"
    return [Check("bridge filter", WARN, "bridge-nf-call-iptables is 1", consequence, f"echo 0 > {BRIDGE_FILTER}")]


def _vhost() -> Check:
    if os.path.exists("/dev/vhost-net"):
        return Check("vhost-net", OK, "/dev/vhost-net is there")
    consequence = "frames of nodes pass through qemu itself: more CPU time per frame"
    return Check("vhost-net", OK, "not there", consequence, "modprobe vhost_net")
