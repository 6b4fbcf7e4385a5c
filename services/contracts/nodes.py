"""nodes: the registry. The only writer of wanted state: configuration, owner, power, image.

Public RPC (users):
  create_nodes(names, settings=[], image=None) -> Changed
  get_nodes(selection) -> [NodeView]            selection: "a,b,my-nodes,free-nodes,all-nodes"
  configure_nodes(selection, settings, force=False) -> Changed        force: also what destroys data on a disk
  link_nodes(selection, network, options, replace=False) -> Changed   options: ["lat=10ms", …] of that network's link;
                                                the others stay as they are, unless replace
  reboot_nodes(selection, hard=False) | stop_nodes(selection, hard=False) -> Changed    hard: without asking the guest
  start_nodes(selection) -> Changed
  rename_node(name, new_name) -> Changed
  boot_nodes(selection, image) -> Changed
  remove_nodes(selection, force=False) | release_nodes(selection, force=False) -> Changed   force: data goes with it
  acquire_nodes(selection, force=False) -> Changed      force: take it from its owner
  get_ports(selection) -> [PortView]            every network port of these nodes, as asked and as it is
  get_events(selection=None, since=0.0, after=0, limit=1000) -> [Event]    oldest first; None: of the caller's nodes,
                                                also of those that were his; since: epoch seconds; after: an Event.id;
                                                limit: the newest so many or, after an event, the next so many
  get_notices() -> [Event]                      what was done to the caller's nodes by others, of the last day
  diagnose() -> [Check]                          of every service and host agent
  add_user(name, administrator=False) -> NewPassword          administrators: an account with a password of its own
  remove_user(name, force=False) -> Changed     administrators: the account and its connections are gone; force: so are
                                                its nodes (released; they are the answer)
  get_users() -> [UserView]                     administrators
  change_password(name=None, password=None) -> NewPassword    name None: one's own, else administrators; password None:
                                                a new one is made; another's connections are closed
Internal RPC (services):
  wanted_on_host(host) -> [NodeWanted]           also those wanted absent
  wanted_everywhere() -> [NodeWanted]
  registry_id() -> str                           of the database: another one knows nothing of what agents keep
  authorize(user, name, action) -> NodeTarget    action: one of ACTIONS; Refused when it may not be
  register_machine(mac, ip) -> NodeWanted        a machine that is not ours boots over walt-net: the physical node that it
                                                 is; a new and free one when its MAC is not known
  ensure_user(name, administrator) -> NewPassword     for who sets the platform up: made, or given a new password
Events: NODE_WANTED (NodeWanted): vmrunner, netemu, bootserver;  NODE_REMOVED (NodeRemoved): netemu, bootserver, console
Hears: vmrunner VM_CHANGED, VM_REMOVED; bootserver MACHINE_CHANGED, MACHINE_REMOVED
"""

from __future__ import annotations

from dataclasses import dataclass, field

from services.contracts.links import LinkModel
from services.contracts.netemu import Traffic
from services.contracts.settings import LAN

SERVICE = "nodes"

NODE_WANTED = "node_wanted"  # the wish for one node is new or has changed
NODE_REMOVED = "node_removed"  # the node is gone, its row too: every agent forgets it

VIRTUAL = "virtual"
PHYSICAL = "physical"  # a machine that is not ours: bootserver looks after it, not the agents of its host

POWER_ON = "on"
POWER_OFF = "off"
ABSENT = "absent"

PING = "ping it"
WATCH_CONSOLE = "watch its console"
USE_CONSOLE = "write to its console"
LOG_IN = "log in to it"
CONNECT = "connect to its ports"
SAVE = "save it as an image"
ACTIONS = (PING, WATCH_CONSOLE, USE_CONSOLE, LOG_IN, CONNECT, SAVE)

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
class Disk:
    """One disk of a node: the first is vda. id is never used again, so that its file can be nobody else's; the size
    of the same disk may grow, its template never changes."""

    id: int
    size_bytes: int
    template: str


@dataclass(frozen=True)
class NodeWanted:
    """Everything an agent needs to make one node so.

    id is never used again for another node; `boot` counts the boots and ends asked for (create, reboot, stop,
    …): an agent that sees it grow ends the running machine and, unless it is to be off, boots anew. `version` grows with every change of any kind.
    hard: whoever asked for this boot or this end does not want the guest to be asked first.
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
    disks: tuple[Disk, ...] = ()
    netsetup: str = LAN
    hard: bool = False
    type: str = VIRTUAL

    @property
    def is_virtual(self) -> bool:
        return self.type == VIRTUAL

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
    """What console needs to serve a user on one node. host: of the console that reaches it; version: of the wish by
    which it was allowed (`NodeWanted`)."""

    id: int
    name: str
    owner: str
    host: str
    ip: str
    state: str
    type: str = VIRTUAL
    version: int = 0


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


@dataclass(frozen=True)
class PortView:
    """One port of a node on a network. asked, applied: links in the settings grammar; applied is None when the port is
    not there yet (`state` says why: the interface comes with the next boot, its host does not answer, …), and differs
    from asked by what the platform itself adds to the delay, which is taken off.
    An interface that the node still has until its next boot, though no longer asked, has no mac here.
    measured_latency_us: of what the node sends, None where it is not measured; interface: its name in the guest;
    late: frames handed on more than 1 ms after they were due."""

    node: str
    owner: str
    network: str
    interface: str
    mac: str
    state: str
    asked: str
    applied: str | None = None
    backend: str = ""
    compensation_us: int = 0
    measured_latency_us: int | None = None
    up: Traffic = field(default_factory=Traffic)
    down: Traffic = field(default_factory=Traffic)


@dataclass(frozen=True)
class UserView:
    """A person with an account. nodes: names of those that are his; connected: at this moment."""

    name: str
    administrator: bool
    nodes: tuple[str, ...]
    connected: bool


@dataclass(frozen=True)
class NewPassword:
    """Told once, and stored nowhere."""

    name: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Event:
    """Something that happened to a node. user: who asked for it, "" when nobody did (a transition of its machine);
    owner: whose the node was then; kind: the command ("create", "config", "takeover", …) or "state"."""

    id: int
    at: float
    node: str
    owner: str
    user: str
    kind: str
    text: str
