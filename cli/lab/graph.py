"""A lab as a picture: its nodes, its networks, and on each edge what was asked of the link and what was measured. Pure.

A network of two nodes is an edge; one of more is a point with an edge to each.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from walt.contracts import links, units
from walt.contracts.lab_check import CheckedNode
from walt.contracts.names import WALT_NET
from walt.contracts.nodes import PortView

SIZE, MARGIN = 720, 110
BOX_W, BOX_H = 110, 34


@dataclass(frozen=True)
class Picture:
    """edges: two of nodes or hubs, and the lines of its label."""

    name: str
    nodes: tuple[str, ...]
    hubs: tuple[str, ...]
    edges: tuple[tuple[str, str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class PortLabel:
    """One node on one network; text: what was asked, and what was measured if there is something."""

    node: str
    network: str
    text: str


def of_nodes(nodes: Sequence[CheckedNode]) -> list[PortLabel]:
    """As a file asks for them."""
    return [
        PortLabel(node.name, use.name, links.format_link(use.link)) for node in nodes for use in node.config.networks
    ]


def of_ports(ports: Sequence[PortView]) -> list[PortLabel]:
    return [PortLabel(port.node, port.network, _asked_and_measured(port)) for port in ports]


def picture(lab: str, nodes: Sequence[str], ports: Sequence[PortLabel]) -> Picture:
    """walt-net, which joins all nodes, is left out."""
    members: dict[str, list[PortLabel]] = {}
    for port in ports:
        if port.network != WALT_NET:
            members.setdefault(port.network, []).append(port)
    hubs, edges = [], list[tuple[str, str, tuple[str, ...]]]()
    for network, found in members.items():
        shown = network.removeprefix(f"{lab}/")
        if len(found) == 2:
            edges.append((found[0].node, found[1].node, _label(shown, *found)))
        else:
            shown = f"{shown} (network)" if shown in nodes else shown
            hubs.append(shown)
            edges += [(port.node, shown, tuple(filter(None, [port.text]))) for port in found]
    return Picture(lab, tuple(nodes), tuple(hubs), tuple(edges))


def _asked_and_measured(port: PortView) -> str:
    measured = port.measured_latency_us
    if not port.asked or measured is None:
        return port.asked
    return f"{port.asked} (measured {units.format_latency(measured)})"


def _label(network: str, one: PortLabel, other: PortLabel) -> tuple[str, ...]:
    """The name of the network where it is not that of the link; what both ends say, or each for itself."""
    name = [] if "--" in network else [network]
    if one.text == other.text:
        return tuple(filter(None, [*name, one.text]))
    return (*name, *(f"{port.node}: {port.text}" for port in (one, other) if port.text))


def as_dot(picture: Picture) -> str:
    lines = [f"graph {json.dumps(picture.name)} {{", "  node [shape=box];"]
    lines += [f"  {json.dumps(node)};" for node in picture.nodes]
    lines += [f"  {json.dumps(hub)} [shape=ellipse];" for hub in picture.hubs]
    for one, other, label in picture.edges:
        ends = f"{json.dumps(one)} -- {json.dumps(other)}"
        lines.append(f"  {ends}" + (f" [label={json.dumps(chr(10).join(label))}];" if label else ";"))
    return "\n".join([*lines, "}", ""])


def as_mermaid(picture: Picture) -> str:
    ids = {name: f"n{number}" for number, name in enumerate((*picture.nodes, *picture.hubs))}
    lines = ["graph LR", *(f'  {ids[node]}["{node}"]' for node in picture.nodes)]
    lines += [f'  {ids[hub]}(("{hub}"))' for hub in picture.hubs]
    for one, other, label in picture.edges:
        text = f'|"{"<br/>".join(label)}"|' if label else ""
        lines.append(f"  {ids[one]} ---{text} {ids[other]}")
    return "\n".join([*lines, ""])


def as_svg(picture: Picture) -> str:
    places = _places(picture)
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}" font-family="sans-serif">']
    lines.append(f"<title>{html.escape(picture.name)}</title>")
    lines += [line for edge in picture.edges for line in _svg_edge(places, *edge)]
    for name, (x, y) in places.items():
        is_node = name in picture.nodes
        shape = f'<rect x="{x - BOX_W / 2:.0f}" y="{y - BOX_H / 2:.0f}" width="{BOX_W}" height="{BOX_H}" rx="5"'
        oval = f'<ellipse cx="{x:.0f}" cy="{y:.0f}" rx="{BOX_W / 2:.0f}" ry="{BOX_H / 2:.0f}"'
        lines.append(f'{shape if is_node else oval} fill="{"#e8f0fe" if is_node else "#f4f4f4"}" stroke="#555"/>')
        lines.append(
            f'<text x="{x:.0f}" y="{y + 5:.0f}" font-size="14" text-anchor="middle">{html.escape(name)}</text>'
        )
    return "\n".join([*lines, "</svg>", ""])


def as_drawio(picture: Picture) -> str:
    places = _places(picture)
    ids = {name: f"n{number}" for number, name in enumerate(places)}
    cells = ['<mxCell id="0"/><mxCell id="1" parent="0"/>']
    for name, (x, y) in places.items():
        style = "rounded=1;" if name in picture.nodes else "ellipse;"
        box = f'x="{x - BOX_W / 2:.0f}" y="{y - BOX_H / 2:.0f}" width="{BOX_W}" height="{BOX_H}"'
        value = html.escape(name)
        cells.append(
            f'<mxCell id="{ids[name]}" value="{value}" style="{style}" vertex="1" parent="1">'
            f'<mxGeometry {box} as="geometry"/></mxCell>'
        )
    for number, (one, other, label) in enumerate(picture.edges):
        value = html.escape("\n".join(label)).replace("\n", "&#10;")
        cells.append(
            f'<mxCell id="e{number}" value="{value}" style="endArrow=none;" edge="1" parent="1" source="{ids[one]}" '
            f'target="{ids[other]}"><mxGeometry relative="1" as="geometry"/></mxCell>'
        )
    inside = "\n".join(cells)
    title = html.escape(picture.name)
    return (
        f'<mxfile><diagram name="{title}"><mxGraphModel><root>\n{inside}\n</root></mxGraphModel></diagram></mxfile>\n'
    )


FORMATS: dict[str, Callable[[Picture], str]] = {
    "svg": as_svg,
    "mermaid": as_mermaid,
    "dot": as_dot,
    "drawio": as_drawio,
}


def _places(picture: Picture) -> dict[str, tuple[float, float]]:
    """Nodes on a circle; a hub between those that it joins, a little aside of the middle: none hides another."""
    radius, middle = SIZE / 2 - MARGIN, SIZE / 2
    places = {}
    for number, node in enumerate(picture.nodes):
        angle = 2 * math.pi * number / len(picture.nodes) - math.pi / 2
        places[node] = (middle + radius * math.cos(angle), middle + radius * math.sin(angle))
    for number, hub in enumerate(picture.hubs):
        joined = [places[one] for one, other, _ in picture.edges if other == hub]
        angle = 2 * math.pi * number / len(picture.hubs)
        aside = 0 if len(picture.hubs) == 1 else BOX_W
        x, y = (sum(values) / max(len(joined), 1) for values in (zip(*joined, strict=True) if joined else ((0,), (0,))))
        places[hub] = ((x + middle) / 2 + aside * math.cos(angle), (y + middle) / 2 + aside * math.sin(angle))
    return places


def _svg_edge(places: dict[str, tuple[float, float]], one: str, other: str, label: Sequence[str]) -> Iterator[str]:
    (x1, y1), (x2, y2) = places[one], places[other]
    yield f'<line x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}" stroke="#555"/>'
    for number, line in enumerate(label):
        x, y = (x1 + x2) / 2, (y1 + y2) / 2 + 14 * number - 4
        yield f'<text x="{x:.0f}" y="{y:.0f}" font-size="12" text-anchor="middle">{html.escape(line)}</text>'
