"""How expectations are measured: the scripts that run in nodes, and what their output says. Pure."""

from __future__ import annotations

import re
import shlex
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from walt.contracts import lab_expect, labs, network_uses
from walt.contracts.lab_expect import LOSS, NO, QUANTITIES, RATE, REACH, RTT
from walt.contracts.labs import LabDocument, LabExpectation
from walt.contracts.names import WALT_NET
from walt.contracts.nodes import NodeView

RTT_PINGS = 11  # the first also asks for the MAC address, and is not counted
LOSS_PINGS = 500
LOSS_INTERVAL_S = 0.02
PORT = 52077
RATE_S = 4
SKIPPED_S = 1  # the slow start of TCP
LISTEN_LIMIT_S = 9  # in which python3 of the receiver has started, on a busy host

ADDRESSES_SCRIPT = """\
for one in /sys/class/net/*; do echo "mac ${one##*/} $(cat $one/address)"; done
ip -o addr show
"""
_SENDER = f"""\
import socket, sys, time
limit = time.monotonic() + {LISTEN_LIMIT_S}
while True:
    try: s = socket.create_connection((sys.argv[1], {PORT}), 5)
    except ConnectionRefusedError:
        if time.monotonic() > limit: raise
        time.sleep(0.1)
    else: break
end = time.monotonic() + {RATE_S + SKIPPED_S}
try:
    while time.monotonic() < end: s.sendall(bytes(65536))
except OSError: pass
"""
_RECEIVER = f"""\
import os, socket, time
l = socket.create_server(("", {PORT}), family=socket.AF_INET6, dualstack_ipv6=True)
l.settimeout(10)
s, _ = l.accept()
s.settimeout(5)
begin, got = time.monotonic() + {SKIPPED_S}, 0
while (now := time.monotonic()) < begin + {RATE_S - SKIPPED_S}:
    n = len(s.recv(65536))
    if not n: break
    got += n if now > begin else 0
os.write(1, b"bps %d" % (8 * got / max(time.monotonic() - begin, 0.001)))
"""

_TIME = re.compile(r"time[=<]([0-9.]+) ?ms")
_COUNTS = re.compile(r"([0-9]+) packets transmitted, ([0-9]+) (?:packets )?received")
_ADDRESS = re.compile(r"[0-9]+: (\S+)\s+inet6? ([0-9a-fA-F.:]+)(?:/[0-9]+)?\s")


@dataclass(frozen=True)
class NodeAddresses:
    """macs: {MAC: interface}; addresses: {interface: those that it has}."""

    macs: Mapping[str, str] = field(default_factory=dict)
    addresses: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """value: in the unit of its kind, None where nothing could be measured; text: what was found, for people."""

    text: str
    value: float | None = None


def target_network(document: LabDocument, one: LabExpectation, nodes: Mapping[str, NodeView]) -> str:
    """As the registry calls it: that which is named, else the first that both are on, else walt-net."""
    if one.network:
        externals = {network.name for network in document.networks if network.is_external}
        return labs.network_name(document.name, one.network, one.network in externals)
    first, second = (
        [use.name for use in network_uses.parse_networks(nodes[name.lower()].config["networks"])] for name in one.nodes
    )
    return next((name for name in first if name != WALT_NET and name in second), WALT_NET)


def parse_addresses(output: str) -> NodeAddresses:
    """Of ADDRESSES_SCRIPT."""
    macs: dict[str, str] = {}
    addresses: dict[str, list[str]] = {}
    for line in output.splitlines():
        if line.startswith("mac "):
            _, interface, *mac = line.split()
            macs.update({one.lower(): interface for one in mac})
        elif match := _ADDRESS.match(line):
            addresses.setdefault(match[1], []).append(match[2])
    return NodeAddresses(macs, addresses)


def destination(
    target: NodeAddresses, mac: str, source: NodeAddresses, source_mac: str, given: Collection[str] = ()
) -> str | None:
    """The address to ping: of those of the platform (`given`) if it has one, IPv4 first, link-local last, with the
    interface of the source; None without one."""
    addresses = target.addresses.get(target.macs.get(mac, ""), ())
    found = sorted(addresses, key=lambda one: (one not in given, _preference(one)))
    if not found:
        return None
    if not found[0].lower().startswith("fe80:"):
        return found[0]
    interface = source.macs.get(source_mac)
    return f"{found[0]}%{interface}" if interface else None


def _preference(address: str) -> int:
    return 0 if "." in address else 2 if address.lower().startswith("fe80:") else 1


def ping_script(kind: str, address: str) -> str:
    """What it prints is for `parse_ping`."""
    count, interval = {RTT: (RTT_PINGS, 0.2), LOSS: (LOSS_PINGS, LOSS_INTERVAL_S)}.get(kind, (3, 0.3))
    limit = round(count * interval) + 5
    return (
        f"ping {'-6 ' if ':' in address else ''}-c {count} -i {interval} -w {limit} {shlex.quote(address)} 2>&1; true"
    )


def rate_scripts(address: str) -> tuple[str, str]:
    """Of the receiver, and of the sender, who begins a little later."""
    needs = 'command -v python3 >/dev/null || { echo "python3 is not in this node"; exit 1; }'
    receiver = f"{needs}; python3 -c {shlex.quote(_RECEIVER)}"
    sender = f"{needs}; sleep 1; python3 -c {shlex.quote(_SENDER)} {shlex.quote(address)}"
    return receiver, sender


def parse_ping(kind: str, output: str) -> Measured:
    times, counts = [float(text) for text in _TIME.findall(output)], _COUNTS.search(output)
    sent, received = (int(counts[1]), int(counts[2])) if counts else (0, 0)
    if kind == REACH:
        return Measured("reached" if received else "not reached", float(received > 0))
    if not sent or not received:
        last = (output.strip().splitlines() or ["no answer"])[-1]
        return Measured("no answer" if sent else last, 1e6 if kind == LOSS and sent else None)
    if kind == LOSS:
        ppm = round(1e6 * (sent - received) / sent)
        return Measured(f"{QUANTITIES[LOSS].format(ppm)} of {sent}", ppm)
    median_us = round(1000 * statistics.median(times[1:] or times))
    return Measured(QUANTITIES[RTT].format(median_us), median_us)


def parse_rate(output: str) -> Measured:
    match = re.search(r"bps ([0-9]+)", output)
    if match is None:
        return Measured((output.strip().splitlines() or ["no connection"])[-1])
    kbps = max(round(int(match[1]) / 1000), 1)
    return Measured(QUANTITIES[RATE].format(1000 * kbps), int(match[1]))


def is_met(one: LabExpectation, measured: Measured) -> bool:
    if measured.value is None:
        return False
    if one.kind == REACH:
        return bool(measured.value) == (one.value != NO)
    return lab_expect.parse_bounds(one.kind, one.value).includes(measured.value)
