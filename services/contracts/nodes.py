"""nodes: the registry. The only writer of wanted state: configuration, owner, power, image.

Public RPC (users):
  create_nodes(names, settings=[], image=None) -> Changed
  get_nodes(selection) -> [NodeView]            selection: "a,b,my-nodes,free-nodes,all-nodes"
  configure_nodes(selection, settings) -> Changed
  reboot_nodes(selection) | remove_nodes(selection) -> Changed
  acquire_nodes(selection, force=False) | release_nodes(selection) -> Changed      force: take it from its owner
  boot_nodes(selection, image) -> Changed
  diagnose() -> [Check]                          of every service and host agent
Internal RPC (services):
  wanted_on_host(host) -> [NodeWanted]           also those wanted absent
  wanted_everywhere() -> [NodeWanted]
  authorize(user, name, action) -> NodeTarget    action: one of ACTIONS; Refused when it may not be
Events: NODE_WANTED (NodeWanted): vmrunner and netemu hear it;  NODE_REMOVED (NodeRemoved): netemu, bootserver, console
Hears: vmrunner VM_CHANGED, VM_REMOVED
"""

from __future__ import annotations

from dataclasses import dataclass, field

from services.contracts.links import LinkModel

SERVICE = "nodes"

NODE_WANTED = "node_wanted"  # the wish for one node is new or has changed
NODE_REMOVED = "node_removed"  # the node is gone, its row too: every agent forgets it

POWER_ON = "on"
POWER_OFF = "off"
ABSENT = "absent"

WATCH_CONSOLE = "watch its console"
USE_CONSOLE = "write to its console"
LOG_IN = "log in to it"
ACTIONS = (WATCH_CONSOLE, USE_CONSOLE, LOG_IN)

FIRST_SLOT = 2  # PCI slot of the first interface: the guest calls it ens2


@dataclass(frozen=True)
class Network:
    """A network of one owner. id 0 is walt-net, the platform's own."""

    id: int
    name: str
    owner: str


@dataclass(frozen=True)
class Interface:
    """One interface of a node: PCI slot (2, 3, … in the order of `networks`), MAC for good, network, link."""

    slot: int
    mac: str
    network: Network
    link: LinkModel = field(default_factory=LinkModel)


@dataclass(frozen=True)
class NodeWanted:
    """Everything an agent needs to make one node so.

    id is never used again for another node; `boot` counts the boots asked for (create, reboot, start, …):
    an agent that sees it grow ends the running machine and boots anew. `version` grows with every change of any kind.
    """

    id: int
    name: str
    host: str
    owner: str  # "" when free
    power: str  # POWER_ON, POWER_OFF, ABSENT
    boot: int
    version: int
    image: str
    ip: str
    cpu_cores: int
    ram_bytes: int
    boot_delay_s: int | None
    boot_timeout_s: int | None
    boot_retries: int
    interfaces: tuple[Interface, ...]

    @property
    def walt_net(self) -> Interface:
        return next(one for one in self.interfaces if one.network.id == WALT_NET_ID)


WALT_NET_ID = 0


@dataclass(frozen=True)
class NodeRemoved:
    id: int
    name: str
    host: str


@dataclass(frozen=True)
class NodeTarget:
    """What console needs to serve a user on one node."""

    id: int
    name: str
    owner: str
    host: str
    ip: str
    state: str


@dataclass(frozen=True)
class NodeView:
    """What `walt node show` knows of a node. since: seconds of the epoch; config: {setting: text}."""

    name: str
    owner: str
    state: str
    since: float
    reason: str
    type: str
    ip: str
    mac: str
    image: str
    host: str
    config: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Changed:
    """The answer to a command. nodes: those named, as they are now; notes: sentences for the user."""

    nodes: tuple[NodeView, ...]
    notes: tuple[str, ...] = ()
