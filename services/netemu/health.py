"""What `walt doctor` is told about links on this host."""

from __future__ import annotations

import os
from pathlib import Path

from services.contracts.health import FAIL, OK, WARN, Check
from services.contracts.names import WALT_NET
from services.contracts.netemu import CABLE
from services.netemu.emulation import Emulation
from services.netemu.plan import BROKEN

BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


def checks(emulation: Emulation) -> list[Check]:
    return [_walt_net(emulation), *_links(emulation), *_bridge_filter(), _vhost()]


def _walt_net(emulation: Emulation) -> Check:
    world = emulation.world()
    broken = [
        f"{state.port.node} on {state.port.network.name}" for state in world.ports.values() if state.backend == BROKEN
    ]
    if WALT_NET not in world.bridges:
        found = f"the bridge {WALT_NET} is not ours or not there"
        return Check("walt-net", FAIL, found, "no node can boot", f"remove the interface named {WALT_NET}")
    if broken:
        return Check("ports", FAIL, f"broken: {', '.join(broken)}", "they pass no frame", "see the log of netemu")
    return Check("ports", OK, f"{len(world.ports)} ports, {len(world.bridges)} bridges")


def _links(emulation: Emulation) -> list[Check]:
    if emulation.shaper != CABLE:
        return [Check("links", OK, "back-end kernel: netem")]
    found = f"back-end cable (in user space): {emulation.no_netem}"
    consequence = "links are exact, but cost CPU time; about 1 Gbit/s in all"
    mend = "a kernel with sch_netem (modprobe sch_netem)"
    checks = [Check("links", OK, found, consequence, mend)]
    state = emulation.cable.show()
    if state is None:
        return [*checks, Check("cable", OK, "not started: no shaped port yet")]
    if state.realtime:
        return [
            *checks,
            Check("cable", OK, f"real-time priority; {state.overhead_us:.0f} us of its own per frame, taken off"),
        ]
    consequence = "frames may be late while the host is busy"
    return [*checks, Check("cable", WARN, "no real-time priority", consequence, "give netemu CAP_SYS_NICE")]


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
