"""All that `netemu.diagnose` returns: the state of links, addresses and interfaces on this host."""

from __future__ import annotations

import os
from pathlib import Path

from services.kit import registry_guard
from services.netemu.emulation import Emulation
from services.netemu.filters.anti_spoofing import Bindings
from services.netemu.overlay.overlay import Overlay
from services.netemu.overlay.paths import measure_mtus
from services.netemu.ports import cable_limits
from services.netemu.ports.plan import BROKEN, Snapshot
from services.netemu.ports.port import WALT_NET_MTU
from services.netemu.ports.traffic import CableState
from services.netemu.ports.tunnel import HEADERS_BYTES
from services.netemu.uplink import PhysicalUplink
from walt.contracts.checks import FAIL, OK, WARN, Check
from walt.contracts.errors import Failed
from walt.contracts.names import WALT_NET
from walt.contracts.netemu import KERNEL

BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


def diagnose(
    emulation: Emulation, bindings: Bindings, uplink: PhysicalUplink, overlay: Overlay, registry_fault: str
) -> list[Check]:
    return [
        *_ports(emulation),
        _backend(emulation),
        _addresses(bindings),
        *_uplink(uplink),
        *_underlay(overlay),
        _registry(registry_fault),
        *_bridge_filter(),
        _vhost(),
    ]


def _ports(emulation: Emulation) -> list[Check]:
    try:
        snapshot, cable = emulation.snapshot(), emulation.cable.show()
    except Failed as error:
        consequence = "no link changes; frames may be late or stand still"
        return [Check("cable", FAIL, str(error), consequence, "end that process: netemu starts another one")]
    if not emulation.has_joined and WALT_NET not in snapshot.bridges:
        return [_not_joined(), *_cable(emulation, cable)]
    return [_walt_net(snapshot), *_cable(emulation, cable), *_shares(cable), _platform_latency(snapshot)]


def _not_joined() -> Check:
    found = "this host has not joined yet: nodes has not told which address it has"
    return Check("walt-net", FAIL, found, "no node can boot here", "see the log of netemu, and the line 'nodes'")


def _walt_net(snapshot: Snapshot) -> Check:
    broken = [
        f"{state.port.node} on {state.port.network.name}"
        for state in snapshot.ports.values()
        if state.backend == BROKEN
    ]
    if WALT_NET not in snapshot.bridges:
        found = f"the bridge {WALT_NET} is not ours or not there"
        return Check("walt-net", FAIL, found, "no node can boot", f"remove the interface named {WALT_NET}")
    if broken:
        return Check("ports", FAIL, f"broken: {', '.join(broken)}", "they pass no frame", "see the log of netemu")
    return Check("ports", OK, f"{len(snapshot.ports)} ports, {len(snapshot.bridges)} bridges")


def _backend(emulation: Emulation) -> Check:
    if emulation.shaper == KERNEL:
        found = "back-end kernel: netem; links with a seed or a trace, or with reorder and bw, go through the cable"
        consequence = "loss, dup and limit count a large frame of segmentation offload as one frame"
        return Check("links", OK, found, consequence, "in the node: ethtool -K ens3 tso off gso off")
    found = f"back-end cable (in user space), seeds included: {emulation.no_netem}"
    consequence = "links are exact, but cost CPU time; about 1 Gbit/s in all"
    return Check("links", OK, found, consequence, "a kernel with sch_netem (modprobe sch_netem)")


def _cable(emulation: Emulation, cable: CableState | None) -> list[Check]:
    if cable is None:
        return [] if emulation.shaper == KERNEL else [Check("cable", OK, "not started: no shaped port yet")]
    if cable.realtime:
        found = f"real-time priority; {cable.overhead_us:.0f} us of its own per frame, taken off"
        return [Check("cable", OK, found), _engine(cable)]
    consequence = "frames may be late while the host is busy"
    return [
        Check(
            "cable",
            WARN,
            "no real-time priority",
            consequence,
            "give it CAP_SYS_NICE; in a container of a kernel with RT_GROUP_SCHED also cpu_rt_runtime",
        ),
        _engine(cable),
    ]


def _engine(cable: CableState) -> Check:
    if cable.compiled:
        return Check("engine of the cable", OK, "machine code")
    consequence = "the same frames at the same times, at more CPU time for each"
    fix = "a C compiler and the headers of Python (gcc, python3-dev), make deps, then a new cable while no link is used"
    return Check("engine of the cable", OK, "interpreted: no machine code was built", consequence, fix)


def _shares(cable: CableState | None) -> list[Check]:
    limited = cable_limits.limited_lately(cable.shares.values()) if cable else []
    if not limited:
        return []
    found = f"used up by {', '.join(cable_limits.described(one) for one in limited)}"
    consequence = "their links lose frames, or delay them more than was asked; those of others are as asked"
    return [Check("shares of the cable", WARN, found, consequence, "they send less, or have nodes on several hosts")]


def _platform_latency(snapshot: Snapshot) -> Check:
    """Each node's own share of a round trip, as measured. On networks that span hosts more is taken off a port."""
    shares_us = dict[int, int]()
    for port in (state.port for state in snapshot.ports.values()):
        shares_us[port.node_id] = min(port.compensation_us, shares_us.get(port.node_id, port.compensation_us))
    measured_us = sorted(share_us for share_us in shares_us.values() if share_us)
    if not measured_us:
        return Check("platform latency", OK, "no node measured yet")
    least, most = (f"{share_us / 1000:.2f} ms" for share_us in (measured_us[0], measured_us[-1]))
    figure = least if least == most else f"{least} to {most}"
    nodes = "1 node" if len(measured_us) == 1 else f"{len(measured_us)} nodes"
    return Check("platform latency", OK, f"{figure} per node, measured on {nodes}; taken off what they send")


def _addresses(bindings: Bindings) -> Check:
    if not bindings.fault:
        return Check("addresses", OK, "nodes send from their own addresses on walt-net only")
    fix = "a kernel with nftables for bridges (NF_TABLES_BRIDGE)"
    if bindings.is_required:
        consequence = "no node gets a port on walt-net: it could take another's address"
        fix += ", or WALT_BINDING=optional where all users trust each other"
        return Check("addresses", FAIL, f"not bound: {bindings.fault}", consequence, fix)
    consequence = "a node can take another's address, and read what is meant for that one"
    return Check("addresses", WARN, f"not bound: {bindings.fault}", consequence, fix)


def _uplink(uplink: PhysicalUplink) -> list[Check]:
    if not uplink.name_or_mac:
        return []
    if not uplink.fault:
        return [Check("interface", OK, f"{uplink.name_or_mac} is in {WALT_NET}")]
    consequence = "no physical machine boots from here"
    return [Check("interface", WARN, uplink.fault, consequence, "connect the interface, or correct WALT_INTERFACE")]


def _underlay(overlay: Overlay) -> list[Check]:
    """Of the network between hosts; nothing where there is one host."""
    others = overlay.stations.others
    if not others:
        return []
    cut = "networks that span hosts are cut"
    if not overlay.underlay:
        found = f"this host has no address for {_some([one.name for one in others])}"
        return [Check("underlay", WARN, found, cut, "WALT_UNDERLAY: its address towards the other hosts")]
    try:
        mtus = measure_mtus(overlay.source, [one.underlay for one in others])
    except Failed as error:
        return [Check("underlay", FAIL, str(error), cut, "correct WALT_UNDERLAY")]
    if overlay.fault:
        return [Check("underlay", FAIL, overlay.fault, cut, "a kernel with VXLAN; see the log of netemu")]
    silent = [f"{one.name} ({one.underlay})" for one in others if not mtus[one.underlay]]
    if silent:
        fix = "start that host, or let ICMP and UDP port 4789 pass between hosts"
        return [Check("underlay", WARN, f"no answer from {_some(silent)}", f"{cut} there", fix)]
    return [_mtu(min(mtus.values()), len(others))]


def _mtu(mtu: int, count: int) -> Check:
    hosts = "1 other host answers" if count == 1 else f"{count} other hosts answer"
    whole = mtu - HEADERS_BYTES
    if whole >= WALT_NET_MTU:
        return Check("underlay", OK, f"{hosts}; packets of up to {whole} bytes go there in one piece")
    found = f"{hosts}; packets of nodes of more than {whole} bytes go there in pieces (MTU {mtu})"
    consequence = "more CPU time for each, and a lost piece is a lost packet"
    return Check("underlay", OK, found, consequence, f"an MTU of {WALT_NET_MTU + HEADERS_BYTES} between the hosts")


def _some(names: list[str], at_most: int = 5) -> str:
    more = len(names) - at_most
    return ", ".join(sorted(names)[:at_most]) + (f" and {more} more" if more > 0 else "")


def _registry(fault: str) -> Check:
    consequence = "no link of this host changes and no port is removed; running VMs keep theirs"
    return registry_guard.diagnosis(fault, "ports", consequence)


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
