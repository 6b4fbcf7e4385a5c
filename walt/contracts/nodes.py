"""nodes: the registry. The only writer of wanted state: configuration, owner, power, image.

Public RPC (users):
  create_nodes(names, settings=[], image=None, host=None) -> Changed      host: where they go; None: where there is room
  get_nodes(selection) -> [NodeView]            selection: "a,b,my-nodes,free-nodes,all-nodes"
  wait_nodes(selection, seen="") -> NodesSeen   as get_nodes, once it is not what `seen` stands for;
                                                at the latest after WAIT_S
  configure_nodes(selection, settings, force=False) -> Changed        force: also what destroys data on a disk
  link_nodes(selection, network, options, replace=False) -> Changed   options: ["lat=10ms", …] of that network's link,
                                                addr=; the others stay as they are, but for those of the link if replace
  reboot_nodes(selection, hard=False) | stop_nodes(selection, hard=False) -> Changed    hard: without asking the guest
  start_nodes(selection) -> Changed
  rename_node(name, new_name) -> Changed
  boot_nodes(selection, image) -> Changed
  remove_nodes(selection, force=False) | release_nodes(selection, force=False) -> Changed   force: data goes with it
  acquire_nodes(selection, force=False) -> Changed      force: take it from its owner
  apply_lab(document, dry_run=False, force=False) -> LabApplied       document: LabDocument (walt/contracts/labs.py);
                                                force: also what destroys data on a disk
  get_labs(name=None) -> [LabView]              the caller's
  remove_lab(name, force=False) -> Changed      with its nodes
  import_trace(name, content) -> TraceView      content: TraceContent (walt/contracts/traces.py)
  get_traces(name=None) -> [TraceView]          the caller's
  remove_trace(name) -> Changed                 Conflict while a link follows it
  schedule_links(ports, after=2.0) -> ScheduleStarted      ports: [PortSchedule] (walt/contracts/schedules.py), whose
                                                links change by themselves; after: seconds until T0, one for all
  get_ports(selection) -> [PortView]            every network port of these nodes, as requested and as it is
  get_events(selection=None, since=0.0, after=0, limit=1000) -> [Event]    oldest first; None: of the caller's nodes,
                                                also of those that were his; since: epoch seconds; after: an Event.id;
                                                limit: the newest so many or, after an event, the next so many
  get_notices() -> [Event]                      what was done to the caller's nodes by others, of the last day
  diagnose() -> [Check]                          of every service and host agent
  add_user(name, administrator=False) -> NewPassword          administrators: an account with a password of its own
  remove_user(name, force=False) -> Changed     administrators: the account and its connections are gone; force: so are
                                                its nodes (released; they are the answer)
  get_users() -> [UserView]                     administrators
  get_use(name=None) -> UserUse                 name None: one's own, else administrators
  set_limits(name, limits) -> UserUse           administrators; limits: ["ram=32G", "images=none", "disk=default"]
  accept_registry() -> [str]                    administrators: this registry is the right one, though it is not the one
                                                that these agents last obeyed
  get_hosts(name=None) -> [HostView]            walt/contracts/hosts.py; None: of all
  drain_host(name, undo=False) -> [HostView]    administrators: no new node goes there; undo: one may again
  evacuate_host(name, dry_run=False) -> HostEvacuation      administrators: drains it, stops its nodes and moves them
                                                with their disks to where placement puts them; they boot there
  admit_host(name) -> HostAccess                administrators: the account of the agents of a further host, with a new
                                                password; whoever had the former one is out
  remove_host(name)                             administrators: forget a host without nodes, and its account; without
                                                one, its agents must be stopped
  get_trash() -> [TrashView]                    administrators: removed disks that hold data, kept for a while
  restore_trash(disk, node) -> Changed          administrators: it becomes the node's last disk, or its /persist, at the
                                                node's next boot
  empty_trash(disks=None) -> [str]              administrators: deleted for good; None: all but those to be restored
  change_password(name=None, password=None) -> NewPassword    name None: one's own, else administrators; password None:
                                                a new one is made; another's connections are closed
Internal RPC (services; get_specs to check_history below: also agents of a further host, but for authorize what is of
their own host alone):
  get_specs(host="") -> Specs                    of one host, with those whose disks are still there, or of all;
                                                 including nodes wanted absent
  get_fabric(host) -> Fabric                     all hosts, and the nodes that are not on this one, by their MACs
  get_trace(trace) -> TraceContent               trace: its id, which `trace` of a link is in a spec
  authorize(user, name, action) -> NodeTarget    action: one of ACTIONS; Refused when the user may not do it
  check_history(agent, registry, epoch, sequence) -> Revision | None    the present revision, if what this agent has
                                                obeyed last is of the history of this registry; None: it is not, and
                                                an administrator must decide
  get_account(user) -> Owner                     the present account of a caller; Denied when it has ended
  get_limits(user) -> UserLimits                     of what this user may have
  get_accounts(names) -> [Owner]                 the present accounts of these names
  check_administrator(user)                      Denied when he is none
  register_machine(mac, ip) -> NodeWanted        a machine boots over walt-net: the physical node with this MAC, a new
                                                 free one when there is none
  ensure_user(name, administrator) -> NewPassword     for the set-up of the platform: created, or given a new password
  suspend_user(name, reason)                          closes the connections of a user who floods a service; for
                                                      SUSPENDED_S he gets no other. name "": requests without a name
                                                      flood it, and it is who sends far more than others
Events: NODE_WANTED (NodeWanted): vmrunner, netemu, bootserver;  NODE_REMOVED (NodeRemoved): netemu, bootserver, console
        HOSTS_CHANGED (HostAddresses): netemu, bootserver
Hears: vmrunner VM_CHANGED, VM_REMOVED; vmrunner, netemu AGENT_PRESENT; bootserver MACHINE_CHANGED, MACHINE_REMOVED
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from walt.contracts.disks import DEFAULT_PERSIST_BYTES
from walt.contracts.limits import UserLimits
from walt.contracts.links import LinkModel
from walt.contracts.netemu import Traffic
from walt.contracts.settings import LAN

SERVICE = "nodes"

NODE_WANTED = "node_wanted"  # the spec of one node is new or has changed
NODE_REMOVED = "node_removed"  # the node and its row are gone: every agent forgets it

VIRTUAL = "virtual"
PHYSICAL = "physical"  # a machine, managed by bootserver instead of the agents of a host

POWER_ON = "on"
POWER_OFF = "off"
ABSENT = "absent"

PING = "ping it"
WATCH_CONSOLE = "watch its console"
USE_CONSOLE = "write to its console"
LOG_IN = "log in to it"
CONNECT = "connect to its ports"
CAPTURE = "capture its traffic"
SAVE = "save it as an image"
ACTIONS = (PING, WATCH_CONSOLE, USE_CONSOLE, LOG_IN, CONNECT, CAPTURE, SAVE)

SUSPENDED_S = 30.0
WAIT_S = 30.0  # of wait_nodes: then who waits asks again, so that each knows when the other has gone

MACHINES = uuid.UUID("7b1f6c5e-3a0d-4f0e-9d57-2c8e4b6a9f13")  # the namespace of `machine_uuid`

FIRST_SLOT = 2  # PCI slot of the first interface: the guest calls it ens2


def machine_uuid(registry: str, node_id: int) -> uuid.UUID:
    """What tells the node's machine from all others, also from those of other platforms; the same at every boot. Its
    32 hex digits are the machine-id of its OS, from which DHCP clients make their identity."""
    return uuid.uuid5(MACHINES, f"{registry}/{node_id}")


@dataclass(frozen=True)
class Owner:
    """Of a node: name and id of an account, both "" of a free node. account is "" as well where a service of the
    version before tells or has stored it; the name decides then."""

    name: str
    account: str = ""

    def is_same(self, other: Owner) -> bool:
        return self.name == other.name and (self.account == other.account or "" in (self.account, other.account))


@dataclass(frozen=True)
class Revision:
    """Where a registry is in its history. epoch: a new one at each start of nodes, "" from a `nodes` of the version
    before; sequence: grows with each change, over all epochs."""

    epoch: str = ""
    sequence: int = 0


@dataclass(frozen=True)
class Network:
    """A network of one owner. id 0 is walt-net, the platform's own. vni: its number in the tunnels between hosts (24
    bits), which an id does not fit; no other present network has it."""

    id: int
    name: str
    owner: str
    vni: int = field(default=0, compare=False)

    @property
    def label(self) -> str:
        """In names of hosts: without the lab that it is of, in small letters."""
        return self.name.rpartition("/")[2].lower()


@dataclass(frozen=True)
class Interface:
    """One interface of a node: PCI slot (2, 3, … in the order of `networks`), MAC for good, network, link. addresses:
    with their prefixes; none on walt-net, where NodeWanted.ip is the one, nor where the node's user sets them."""

    slot: int
    mac: str
    network: Network
    link: LinkModel = field(default_factory=LinkModel)
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Disk:
    """One disk of a node: the first is vda. id is never used again, so its file never becomes that of another disk; the
    size of a disk may grow, its template never changes."""

    id: int
    size_bytes: int
    template: str


@dataclass(frozen=True)
class NodeWanted:
    """The spec of one node: everything that an agent needs to apply it.

    id is never used again for another node. boot counts the requested boots and ends (create, reboot, stop, …): an
    agent that sees it grow ends the running VM and, unless power is off, boots it again. version grows with every
    change. hard: end the VM without asking its guest first.
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
    registry: str = ""  # identity of the database that holds the node; "" from a `nodes` of the version before
    owner_account: str = ""  # id of the owner's account, which no other ever has; as `registry`, and "" when free
    revision: Revision = field(default_factory=Revision, compare=False)  # of that database when this was read
    persist_bytes: int = DEFAULT_PERSIST_BYTES  # of the disk that is /persist
    moves_from: str = ""  # the host that has its disks, until `host` has them all; that one must not start it
    move: int = 0  # which of its moves this is, or was

    @property
    def owned_by(self) -> Owner:
        return Owner(self.owner, self.owner_account)

    @property
    def machine_uuid(self) -> uuid.UUID:
        return machine_uuid(self.registry, self.id)

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
    registry: str = ""
    revision: Revision = field(default_factory=Revision, compare=False)


@dataclass(frozen=True)
class Specs:
    """All specs of one host, or of every host, and the database that holds them: its identity, and its revision."""

    registry: str
    nodes: tuple[NodeWanted, ...]
    revision: Revision = field(default_factory=Revision, compare=False)


@dataclass(frozen=True)
class NodeTarget:
    """What console needs to serve a user on one node. host: of the console that reaches it; version: of the spec on
    which the permission rests (`NodeWanted`)."""

    id: int
    name: str
    owner: str
    host: str
    ip: str
    state: str
    type: str = VIRTUAL
    version: int = 0
    owner_account: str = ""
    cause: str = ""  # of its state (CAUSE_… of vmrunner)
    reason: str = ""

    @property
    def owned_by(self) -> Owner:
        return Owner(self.owner, self.owner_account)


@dataclass(frozen=True)
class NodeView:
    """What `walt node show` prints of a node. since: epoch seconds; config: {setting: text}; cause: a code for why it
    is in this state (CAUSE_… of vmrunner), reason: the same as a sentence; lab: "" when it is of none; moves_to: the
    host to which its next boot takes it, "" for none."""

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
    cause: str = ""
    lab: str = ""
    moves_to: str = ""


@dataclass(frozen=True)
class NodesSeen:
    """seen: stands for all that can change in the state of these nodes."""

    nodes: tuple[NodeView, ...]
    seen: str


@dataclass(frozen=True)
class Changed:
    """The result of a command. nodes: those that it named, as they are now; notes: sentences for the user."""

    nodes: tuple[NodeView, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PortView:
    """One port of a node on a network.

    asked, applied: the requested and the real link, in the settings grammar. applied is None when the port does not
    exist yet (`state` says why); its delay is shorter than requested by what the platform itself adds.
    mac: "" for an interface that the settings no longer have but the node keeps until its next boot.
    interface: its name in the guest. measured_latency_us: of what the node sends, None when it is not measured.
    addresses: that the node is to have there, with their prefixes; none on walt-net. applied_addresses: that its
    running system was given, None where that is not known; address_reason: why these are not the same. refused: frames
    of the node that were left out since it may not send them, on walt-net."""

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
    addresses: tuple[str, ...] = ()
    applied_addresses: tuple[str, ...] | None = None
    address_reason: str = ""
    refused: int = 0


@dataclass(frozen=True)
class UserView:
    """A user with an account. nodes: names of those that he owns; connected: at this moment."""

    name: str
    administrator: bool
    nodes: tuple[str, ...]
    connected: bool


@dataclass(frozen=True)
class UserUse:
    """allowed: the limits of a user; used: by field of `UserLimits`, without those that are not known at the moment."""

    user: str
    allowed: UserLimits
    used: dict[str, int]


@dataclass(frozen=True)
class TrashView:
    """A removed disk that can be given back. what: '32G[template=ext4]' or '/persist'; node, owner: as they were;
    at: epoch seconds of its removal; left_s: until it is deleted; restored_to: the name of the node that gets it at its
    next boot, "" for none."""

    id: str
    node: str
    owner: str
    what: str
    used_bytes: int
    at: float
    left_s: float
    restored_to: str = ""


@dataclass(frozen=True)
class NewPassword:
    """Sent once, and stored nowhere."""

    name: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Event:
    """Something that happened to a node. user: who requested it, "" for a change of its state; owner, owner_account: of
    the node at that time; kind: the command ("create", "config", "takeover", …) or "state"."""

    id: int
    at: float
    node: str
    owner: str
    user: str
    kind: str
    text: str
    owner_account: str = ""
