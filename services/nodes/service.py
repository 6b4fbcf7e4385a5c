"""nodes: the registry of nodes, central.

Owns:       which nodes there are, their settings, owner, image, power, addresses; their owners' networks; labs (nodes
            of one document); traces that links follow; the log of nodes (commands that changed them, their states).
Serves:     create_nodes, get_nodes, wait_nodes, configure_nodes, link_nodes, reboot_nodes, stop_nodes, start_nodes,
            rename_node, boot_nodes, remove_nodes, acquire_nodes, release_nodes, apply_lab, get_labs, remove_lab,
            import_trace, get_traces, remove_trace, schedule_links, get_ports, get_events, get_notices, add_user,
            remove_user, get_users, get_use, set_limits, change_password, accept_registry, get_hosts, drain_host,
            remove_host, get_trash, restore_trash, empty_trash, diagnose (users); get_specs, get_trace, get_fabric,
            authorize, get_account, get_limits, get_accounts, check_administrator, ensure_user, suspend_user,
            register_machine, check_history (services).
Asks:       vmrunner list_data, capacity, list_trash, claim_trash, empty_trash; bootserver check_image, count_images,
            persist_bytes, list_machines, get_addresses; netemu list_ports; the broker's management API; all: diagnose.
Announces:  NODE_WANTED, NODE_REMOVED, HOSTS_CHANGED.
Hears:      vmrunner VM_CHANGED, VM_REMOVED; bootserver MACHINE_CHANGED, MACHINE_REMOVED (asks both at times for what
            was lost); vmrunner, netemu AGENT_PRESENT.

Environment: WALT_DATABASE_URL   database (default: SQLite in WALT_STATE_DIR/nodes/registry.db)
             WALT_EVENTS_KEPT    events in the log (default: 100000); beyond them go the oldest of who has most
             WALT_BROKER_API     http://USER:PASSWORD@HOST:15672 of an administrator (default: no users are managed)
             WALT_PUBLIC_METHODS file of what users may call, as `python -m deploy.broker.public_methods` prints it
             WALT_USER_LIMITS    what a user may have, "nodes=20,ram=16G" (default: see walt/contracts/limits.py)
             WALT_NETWORK_POOLS  of users' subnets (default: 10.64.0.0/10,fd77:616c:7400::/48; none: no addresses)
             WALT_WATCH_CONSOLES who may watch a node's console: owner or all (default: owner)
             WALT_TAKEOVER       who may take others' nodes: all (default), administrators or nobody
             WALT_HOST           the server's host: that of nodes and bootserver
             WALT_SUBNET         addresses of the nodes; the first is the server's, the upper quarter for physical nodes
"""

from __future__ import annotations

from services.kit.bus.app import AppProvider
from services.kit.bus.arguments import Secret
from services.kit.bus.call_metrics import Metrics
from services.kit.bus.entrypoints import Caller, at_start, every, internal, on_event, patient, public
from services.nodes.app import NodesApp
from services.nodes.argument_types import EventCount, EventId, NodeSet, Seconds, StartDelay, Text, Texts
from services.nodes.commands import lab_commands, node_commands, trace_commands
from services.nodes.domain import links, settings_request
from services.nodes.domain.event_texts import EventQuery
from walt.contracts import bootserver, hosts, netemu, nodes, traces, vmrunner
from walt.contracts.checks import Check
from walt.contracts.labs import LabApplied, LabDocument, LabView
from walt.contracts.limits import UserLimits
from walt.contracts.names import check_node_name
from walt.contracts.nodes import (
    Changed,
    Event,
    NewPassword,
    NodeTarget,
    NodeView,
    NodeWanted,
    Owner,
    PortView,
    Revision,
    Specs,
    TrashView,
    UserUse,
    UserView,
)
from walt.contracts.schedules import PortSchedule, ScheduleStarted
from walt.contracts.vmrunner import VmRemoved, VmReport

RECONCILE_S = 20
PRUNE_S = 60


class NodesService:
    name = nodes.SERVICE
    caller: str = Caller()
    metrics = Metrics()
    app: NodesApp = AppProvider(NodesApp)

    @public
    def create_nodes(
        self, names: Texts, settings: Texts = (), image: Text | None = None, host: Text | None = None
    ) -> Changed:
        return self.app.create(self.caller, names, settings, image or bootserver.DEFAULT_IMAGE, host or "")

    @public
    def get_nodes(self, selection: NodeSet) -> list[NodeView]:
        return self.app.views(self.caller, selection)

    @patient
    def wait_nodes(self, selection: NodeSet, seen: str = "") -> nodes.NodesSeen:
        return self.app.waits.wait(self.caller, selection, seen)

    @public
    def configure_nodes(self, selection: NodeSet, settings: Texts, force: bool = False) -> Changed:
        return self.app.configure(self.caller, selection, settings_request.parse(settings), force)

    @public
    def link_nodes(self, selection: NodeSet, network: Text, options: Texts, replace: bool = False) -> Changed:
        request = links.parse(network, options, from_plain=replace)
        return self.app.run(self.caller, node_commands.link, selection, request)

    @public
    def reboot_nodes(self, selection: NodeSet, hard: bool = False) -> Changed:
        return self.app.run(self.caller, node_commands.reboot, selection, hard)

    @public
    def stop_nodes(self, selection: NodeSet, hard: bool = False) -> Changed:
        return self.app.run(self.caller, node_commands.stop, selection, hard)

    @public
    def start_nodes(self, selection: NodeSet) -> Changed:
        return self.app.run(self.caller, node_commands.start, selection)

    @public
    def rename_node(self, name: Text, new_name: Text) -> Changed:
        return self.app.run(self.caller, node_commands.rename, name, check_node_name(new_name))

    @public
    def boot_nodes(self, selection: NodeSet, image: Text) -> Changed:
        return self.app.boot(self.caller, selection, image)

    @public
    def remove_nodes(self, selection: NodeSet, force: bool = False) -> Changed:
        return self.app.run(self.caller, node_commands.remove, selection, force=force)

    @public
    def acquire_nodes(self, selection: NodeSet, force: bool = False) -> Changed:
        return self.app.acquire(self.caller, selection, force)

    @public
    def release_nodes(self, selection: NodeSet, force: bool = False) -> Changed:
        return self.app.run(self.caller, node_commands.release, selection, force=force)

    @public
    def apply_lab(self, document: LabDocument, dry_run: bool = False, force: bool = False) -> LabApplied:
        return self.app.apply_lab(self.caller, document, dry_run, force)

    @public
    def get_labs(self, name: Text | None = None) -> list[LabView]:
        return self.app.labs(self.caller, name)

    @public
    def remove_lab(self, name: Text, force: bool = False) -> Changed:
        return self.app.run(self.caller, lab_commands.remove, name, force=force)

    @public
    def import_trace(self, name: Text, content: traces.TraceContent) -> traces.TraceView:
        return self.app.traces.add(self.caller, name, content)

    @public
    def get_traces(self, name: Text | None = None) -> list[traces.TraceView]:
        return self.app.traces.views(self.caller, name)

    @public
    def remove_trace(self, name: Text) -> Changed:
        return self.app.run(self.caller, trace_commands.remove, name)

    @public
    def schedule_links(self, ports: tuple[PortSchedule, ...], after: StartDelay = 2.0) -> ScheduleStarted:
        return self.app.traces.schedule(self.caller, ports, after)

    @public
    def get_ports(self, selection: NodeSet) -> list[PortView]:
        return self.app.ports(self.caller, selection)

    @public
    def get_events(
        self, selection: NodeSet | None = None, since: Seconds = 0.0, after: EventId = 0, limit: EventCount = 1000
    ) -> list[Event]:
        return self.app.events(self.caller, selection, EventQuery(since, after, limit))

    @public
    def get_notices(self) -> list[Event]:
        return self.app.notices(self.caller)

    @public
    def add_user(self, name: Text, administrator: bool = False) -> NewPassword:
        return self.app.user_commands.add(self.caller, name, administrator)

    @public
    def remove_user(self, name: Text, force: bool = False) -> Changed:
        return self.app.remove_user(self.caller, name, force)

    @public
    def accept_registry(self) -> list[str]:
        return self.app.accept_registry(self.caller)

    @public
    def get_users(self) -> list[UserView]:
        return self.app.users(self.caller)

    @public
    def get_use(self, name: Text | None = None) -> UserUse:
        return self.app.use(self.caller, name or self.caller)

    @public
    def set_limits(self, name: Text, limits: Texts) -> UserUse:
        return self.app.limit(self.caller, name, limits)

    @public
    def get_hosts(self, name: Text | None = None) -> list[hosts.HostView]:
        return self.app.host_commands.views(name)

    @public
    def drain_host(self, name: Text, undo: bool = False) -> list[hosts.HostView]:
        return self.app.host_commands.drain(self.caller, name, not undo)

    @public
    def remove_host(self, name: Text) -> None:
        self.app.host_commands.remove(self.caller, name)

    @public
    def get_trash(self) -> list[TrashView]:
        return self.app.trash.views(self.caller)

    @public
    def restore_trash(self, disk: Text, node: Text) -> Changed:
        return self.app.restore(self.caller, disk, node)

    @public
    def empty_trash(self, disks: Texts | None = None) -> list[str]:
        return self.app.trash.empty(self.caller, disks)

    @public
    def change_password(self, name: Text | None = None, password: Secret | None = None) -> NewPassword:
        return self.app.user_commands.change_password(self.caller, name or self.caller, password)

    @public
    def diagnose(self) -> list[Check]:
        return self.app.diagnose()

    @internal
    def get_specs(self, host: str = "") -> Specs:
        return self.app.specs(host)

    @internal
    def get_fabric(self, host: Text) -> hosts.Fabric:
        return self.app.fabric(host)

    @internal
    def get_trace(self, trace: int) -> traces.TraceContent:
        return self.app.traces.content(trace)

    @internal
    def authorize(self, user: str, name: Text, action: str) -> NodeTarget:
        return self.app.authorize(user, name, action)

    @internal
    def check_history(self, agent: str, registry: str, epoch: str, sequence: int) -> Revision | None:
        return self.app.check_history(agent, registry, Revision(epoch, sequence))

    @internal
    def get_account(self, user: Text) -> Owner:
        return self.app.account(user)

    @internal
    def get_limits(self, user: Text) -> UserLimits:
        return self.app.limits(user)

    @internal
    def get_accounts(self, names: tuple[str, ...]) -> list[Owner]:
        return self.app.present_accounts(names)

    @internal
    def check_administrator(self, user: str) -> None:
        self.app.accounts.check_administrator(user)

    @internal
    def ensure_user(self, name: str, administrator: bool) -> NewPassword:
        return self.app.user_commands.ensure(name, administrator)

    @internal
    def suspend_user(self, name: str, reason: Text) -> None:
        self.app.accounts.suspend(name, reason)

    @internal
    def register_machine(self, mac: str, ip: str) -> NodeWanted:
        return self.app.register_machine(mac, ip)

    @on_event(vmrunner.SERVICE, hosts.AGENT_PRESENT)
    @on_event(netemu.SERVICE, hosts.AGENT_PRESENT)
    def on_agent_present(self, said: hosts.AgentPresent) -> None:
        self.app.hosts.announced(said)

    @on_event(vmrunner.SERVICE, vmrunner.VM_CHANGED)
    @on_event(bootserver.SERVICE, bootserver.MACHINE_CHANGED)
    def on_vm_changed(self, report: VmReport) -> None:
        self.app.apply_report(report)

    @on_event(vmrunner.SERVICE, vmrunner.VM_REMOVED)
    @on_event(bootserver.SERVICE, bootserver.MACHINE_REMOVED)
    def on_vm_removed(self, removed: VmRemoved) -> None:
        self.app.forget(removed)

    @at_start
    def announce_specs(self) -> None:
        self.app.announce_specs()

    @every(RECONCILE_S, at_once=True)
    def reconcile(self) -> None:
        self.app.reconcile()

    @every(PRUNE_S)
    def prune_events(self) -> None:
        self.app.store.prune_events()
