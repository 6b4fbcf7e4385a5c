"""Delays of links as they were asked for, against what frames take by themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from walt.client import Client
from walt.contracts import links, units
from walt.contracts.errors import WaltError
from walt.contracts.links import LinkModel
from walt.contracts.nodes import PortView
from walt.replies import read

from ..ui.messages import print_message


def delay_us(link: str | None) -> int | None:
    """'lat=10ms,bw=5Mbps' -> 10000, of what the node sends."""
    return None if link is None else links.parse_options(LinkModel(), link.split(",") if link else []).up.latency_us


def shortfalls(ports: Iterable[PortView]) -> list[str]:
    """A sentence for each port whose frames take longer than was asked, whatever the platform does."""
    short = [(port, delay_us(port.asked) or 0) for port in ports]
    return [
        f"{port.node}: lat={units.format_latency(asked_us)} on {port.network} is less than the "
        f"{units.format_latency(port.compensation_us)} that its frames take by themselves (platform, way between hosts)"
        for port, asked_us in short
        if 0 < asked_us < port.compensation_us
    ]


def say_shortfalls(client: Client, selection: str, network: str = "") -> None:
    """Of links that were just configured: on this network, or on all. What was done stays done if nothing answers."""
    with contextlib.suppress(WaltError):
        ports = read(list[PortView], client.call("nodes", "get_ports", selection=selection))
        for sentence in shortfalls(one for one in ports if network in ("", one.network)):
            print_message(sentence)
