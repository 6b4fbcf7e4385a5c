"""Labs: experiments as documents, which `nodes` plans and applies. Pure.

A `LabDocument` is what a lab file says, with its defaults and ranges (web[1-5]) written out; its words are those of the
settings grammar. Networks of a lab are its own: `home-net` of the lab demo is the network `demo/home-net` of its owner,
unless the document calls it external. What is wrong with a document is told as `LabFault`s with the path of each.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from walt.contracts.names import MAX_NETWORK_NAME, WALT_NET
from walt.contracts.nodes import NodeView

CREATE = "create"
CHANGE = "change"
REMOVE = "remove"

LINK_SIGN = " -- "  # between the ends of a link, as in graphviz


@dataclass(frozen=True)
class LabFile:
    """Of the computer of who applies the lab; source: relative to the lab file; target: in the node, absolute."""

    source: str
    target: str


@dataclass(frozen=True)
class LabNode:
    """settings: ["ram=1G", …], those that the document gives; the others have their defaults. files, run: what is
    copied to the node after a boot, and the commands that are then run in it."""

    name: str
    image: str = ""  # "": the default image
    settings: tuple[str, ...] = ()
    files: tuple[LabFile, ...] = ()
    run: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabPort:
    """One node on a network or at an end of a link. options: ["lat=10ms", …]."""

    node: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabNetwork:
    """is_external: one of the owner's that is not of this lab."""

    name: str
    ports: tuple[LabPort, ...] = ()
    is_external: bool = False


@dataclass(frozen=True)
class LabLink:
    """A network of two nodes."""

    ends: tuple[LabPort, ...]

    @property
    def name(self) -> str:
        """'vnode1 -- vnode2', as in the file."""
        return LINK_SIGN.join(end.node for end in self.ends)


@dataclass(frozen=True)
class LabExpectation:
    """What `walt lab check` measures (walt/contracts/lab_expect.py). network: "" for that which both nodes are on."""

    kind: str
    nodes: tuple[str, ...]
    value: str = ""
    network: str = ""

    @property
    def title(self) -> str:
        """'rtt vnode1 vnode2 over home-net', as in the file."""
        return " ".join([self.kind, *self.nodes, *(["over", self.network] if self.network else [])])


@dataclass(frozen=True)
class LabEvent:
    """What changes by itself (walt/contracts/lab_events.py). moment: ("at=10s", …); nodes: both ends of a link, or one,
    on this network; options: ("lat=80ms", …)."""

    moment: tuple[str, ...]
    nodes: tuple[str, ...]
    network: str = ""
    options: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """As `walt network schedule` takes them."""
        return (*self.moment, *self.options)

    @property
    def target(self) -> str:
        """'vnode1 -- vnode2' or 'vnode1 on home-net'."""
        return f"{self.nodes[0]} on {self.network}" if self.network else LINK_SIGN.join(self.nodes)

    @property
    def title(self) -> str:
        """'at 10s vnode1 -- vnode2', as in the file."""
        return " ".join([*(word.replace("=", " ") for word in self.moment), self.target])


@dataclass(frozen=True)
class LabDocument:
    """Interfaces of a node are in this order: walt-net, its networks, its links; unless its own setting `networks`
    names some: then those come first."""

    name: str
    nodes: tuple[LabNode, ...]
    networks: tuple[LabNetwork, ...] = ()
    links: tuple[LabLink, ...] = ()
    expect: tuple[LabExpectation, ...] = ()
    events: tuple[LabEvent, ...] = ()


@dataclass(frozen=True)
class LabFault:
    """path: of what is at fault, as ("nodes", "vnode1", "ram", "1X"); error: name of its class in
    walt.contracts.errors."""

    path: tuple[str, ...]
    error: str
    sentence: str


@dataclass(frozen=True)
class LabChange:
    """One setting of a node, or its image: before and after, as texts; before is "" for a new node."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class LabAction:
    """What is done to one node. kind: CREATE, CHANGE or REMOVE; reboots: its system is restarted; starts: it was off;
    joins: it was of no lab before."""

    kind: str
    node: str
    host: str
    changes: tuple[LabChange, ...] = ()
    reboots: bool = False
    starts: bool = False
    joins: bool = False


@dataclass(frozen=True)
class LabApplied:
    """The result of a plan, or of its application. With faults nothing was changed; nodes: those of the lab, as they
    are now."""

    lab: str
    actions: tuple[LabAction, ...] = ()
    faults: tuple[LabFault, ...] = ()
    nodes: tuple[NodeView, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabView:
    """nodes: names of those that there are; applied_at: epoch seconds."""

    name: str
    owner: str
    applied_at: float
    document: LabDocument
    nodes: tuple[str, ...] = field(default=())


def network_name(lab: str, name: str, is_external: bool = False) -> str:
    """How the registry calls a network of this lab."""
    return name if is_external or name == WALT_NET else f"{lab}/{name}"


def link_network(lab: str, one: str, other: str) -> str:
    """The name, within the lab, of the network of a link: 'vnode1--vnode2'. Long ones are named by a digest."""
    name = "--".join(sorted((one, other)))
    if len(network_name(lab, name)) <= MAX_NETWORK_NAME:
        return name
    return f"link-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
