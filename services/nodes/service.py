"""nodes: the registry of nodes, central.

Owns:       which nodes there are, their settings, owner, image, power, addresses; their owners' networks; labs (nodes
            of one document); traces that links follow; the log of nodes (commands that changed them, their states).
Serves:     create_nodes, get_nodes, wait_nodes, configure_nodes, link_nodes, reboot_nodes, stop_nodes, start_nodes,
            rename_node, boot_nodes, remove_nodes, acquire_nodes, release_nodes, apply_lab, get_labs, remove_lab,
            import_trace, get_traces, remove_trace, schedule_links, get_ports, get_events, get_notices, add_user,
            remove_user, get_users, get_use, set_limits, change_password, accept_registry, get_hosts, drain_host,
            evacuate_host, admit_host, remove_host, get_trash, restore_trash, empty_trash, diagnose (users); get_specs,
            get_trace, get_fabric, authorize, check_history (services, agents of further hosts); get_account,
            get_limits, get_accounts, check_administrator, ensure_user, suspend_user, register_machine (services).
Asks:       vmrunner list_data, capacity, list_trash, claim_trash, empty_trash; bootserver check_image, count_images,
            persist_bytes, list_machines, get_addresses; netemu list_ports; the broker's management API; all: diagnose.
Announces:  NODE_WANTED, NODE_REMOVED, HOSTS_CHANGED.
Hears:      vmrunner VM_CHANGED, VM_REMOVED, AGENT_PRESENT; netemu too; bootserver MACHINE_CHANGED, MACHINE_REMOVED.

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
from services.kit.bus.entrypoints import (
    Caller,
    IdOfCall,
    at_start,
    every,
    for_agents,
    internal,
    on_event,
    patient,
    public,
)
from services.kit.bus.repetitions import CallId
from services.nodes.app import NodesApp
from services.nodes.argument_types import EventCount, EventId, NodeSet, Seconds, StartDelay, Text, Texts
from services.nodes.commands import lab_commands, node_commands, trace_commands
from services.nodes.domain import event_texts, links, settings_request
from walt.contracts import bootserver, checks, hosts, labs, limits, netemu, nodes, traces, vmrunner
from walt.contracts.agent_rights import check_asks_for, check_is_agent
from walt.contracts.names import check_node_name
from walt.contracts.schedules import PortSchedule, ScheduleStarted

RECONCILE_S, PRUNE_S = 20, 60


class NodesService:
    name = nodes.SERVICE
    caller: str = Caller()
    call: CallId = IdOfCall()
    metrics = Metrics()
    app: NodesApp = AppProvider(NodesApp)

    @public
    def create_nodes(
        self, names: Texts, settings: Texts = (), image: Text | None = None, host: Text | None = None
    ) -> nodes.Changed:
        return self.app.once.run(self.call, self.app.create, names, settings, image, host)

    @public
    def get_nodes(self, selection: NodeSet) -> list[nodes.NodeView]:
        return self.app.views(self.caller, selection)

    @patient
    def wait_nodes(self, selection: NodeSet, seen: str = "") -> nodes.NodesSeen:
        return self.app.waits.wait(self.caller, selection, seen)

    @public
    def configure_nodes(self, selection: NodeSet, settings: Texts, force: bool = False) -> nodes.Changed:
        return self.app.once.run(self.call, self.app.configure, selection, settings_request.parse(settings), force)

    @public
    def link_nodes(self, selection: NodeSet, network: Text, options: Texts, replace: bool = False) -> nodes.Changed:
        request = links.parse(network, options, from_plain=replace)
        return self.app.once.run(self.call, self.app.run, node_commands.link, selection, request)

    @public
    def reboot_nodes(self, selection: NodeSet, hard: bool = False) -> nodes.Changed:
        return self.app.once.run(self.call, self.app.run, node_commands.reboot, selection, hard)

    @public
    def stop_nodes(self, selection: NodeSet, hard: bool = False) -> nodes.Changed:
        return self.app.once.run(self.call, self.app.run, node_commands.stop, selection, hard)

    @public
    def start_nodes(self, selection: NodeSet) -> nodes.Changed:
        return self.app.once.run(self.call, self.app.run, node_commands.start, selection)

    @public
    def rename_node(self, name: Text, new_name: Text) -> nodes.Changed:
        return self.app.once.run(self.call, self.app.run, node_commands.rename, name, check_node_name(new_name))

    @public
    def boot_nodes(self, selection: NodeSet, image: Text) -> nodes.Changed:
        return self.app.once.run(self.call, self.app.boot, selection, image)

    @public
    def remove_nodes(self, selection: NodeSet, force: bool = False) -> nodes.Changed:
        return self.app.once.run(self.call, self.app.run, node_commands.remove, selection, force=force)

    @public
    def acquire_nodes(self, selection: NodeSet, force: bool = False) -> nodes.Changed:
        return self.app.once.run(self.call, self.app.acquire, selection, force)

    @public
    def release_nodes(self, selection: NodeSet, force: bool = False) -> nodes.Changed:
        return self.app.once.run(self.call, self.app.run, node_commands.release, selection, force=force)

    @public
    def apply_lab(self, document: labs.LabDocument, dry_run: bool = False, force: bool = False) -> labs.LabApplied:
        return self.app.once.run(self.call, self.app.apply_lab, document, dry_run, force)

    @public
    def get_labs(self, name: Text | None = None) -> list[labs.LabView]:
        return self.app.labs(self.caller, name)

    @public
    def remove_lab(self, name: Text, force: bool = False) -> nodes.Changed:
        return self.app.once.run(self.call, self.app.run, lab_commands.remove, name, force=force)

    @public
    def import_trace(self, name: Text, content: traces.TraceContent) -> traces.TraceView:
        return self.app.once.run(self.call, self.app.traces.add, name, content)

    @public
    def get_traces(self, name: Text | None = None) -> list[traces.TraceView]:
        return self.app.traces.views(self.caller, name)

    @public
    def remove_trace(self, name: Text) -> nodes.Changed:
        return self.app.once.run(self.call, self.app.run, trace_commands.remove, name)

    @public
    def schedule_links(self, ports: tuple[PortSchedule, ...], after: StartDelay = 2.0) -> ScheduleStarted:
        return self.app.once.run(self.call, self.app.traces.schedule, ports, after)

    @public
    def get_ports(self, selection: NodeSet) -> list[nodes.PortView]:
        return self.app.ports(self.caller, selection)

    @public
    def get_events(
        self, selection: NodeSet | None = None, since: Seconds = 0.0, after: EventId = 0, limit: EventCount = 1000
    ) -> list[nodes.Event]:
        return self.app.events(self.caller, selection, event_texts.EventQuery(since, after, limit))

    @public
    def get_notices(self) -> list[nodes.Event]:
        return self.app.notices(self.caller)

    @public
    def add_user(self, name: Text, administrator: bool = False) -> nodes.NewPassword:
        return self.app.once.begin(self.call, self.app.user_commands.add, name, administrator)

    @public
    def remove_user(self, name: Text, force: bool = False) -> nodes.Changed:
        return self.app.once.begin(self.call, self.app.remove_user, name, force)

    @public
    def accept_registry(self) -> list[str]:
        return self.app.once.begin(self.call, self.app.accept_registry)

    @public
    def get_users(self) -> list[nodes.UserView]:
        return self.app.users(self.caller)

    @public
    def get_use(self, name: Text | None = None) -> nodes.UserUse:
        return self.app.use(self.caller, name or self.caller)

    @public
    def set_limits(self, name: Text, limits: Texts) -> nodes.UserUse:
        return self.app.once.begin(self.call, self.app.limit, name, limits)

    @public
    def get_hosts(self, name: Text | None = None) -> list[hosts.HostView]:
        return self.app.host_commands.views(name)

    @public
    def drain_host(self, name: Text, undo: bool = False) -> list[hosts.HostView]:
        return self.app.once.begin(self.call, self.app.host_commands.drain, name, not undo)

    @public
    def evacuate_host(self, name: Text, dry_run: bool = False) -> hosts.HostEvacuation:
        return self.app.once.begin(self.call, self.app.host_commands.evacuate, name, dry_run)

    @public
    def admit_host(self, name: Text) -> hosts.HostAccess:
        return self.app.host_commands.admit(self.caller, name)

    @public
    def remove_host(self, name: Text) -> None:
        self.app.once.begin(self.call, self.app.host_commands.remove, name)

    @public
    def get_trash(self) -> list[nodes.TrashView]:
        return self.app.trash.views(self.caller)

    @public
    def restore_trash(self, disk: Text, node: Text) -> nodes.Changed:
        return self.app.once.begin(self.call, self.app.restore, disk, node)

    @public
    def empty_trash(self, disks: Texts | None = None) -> list[str]:
        return self.app.once.begin(self.call, self.app.trash.empty, disks)

    @public
    def change_password(self, name: Text | None = None, password: Secret | None = None) -> nodes.NewPassword:
        return self.app.once.begin(self.call, self.app.user_commands.change_password, name or self.caller, password)

    @public
    def diagnose(self) -> list[checks.Check]:
        return self.app.diagnose()

    @for_agents
    def get_specs(self, host: str = "") -> nodes.Specs:
        return self.app.specs(check_asks_for(self.caller, host))

    @for_agents
    def get_fabric(self, host: Text) -> hosts.Fabric:
        return self.app.fabric(check_asks_for(self.caller, host))

    @for_agents
    def get_trace(self, trace: int) -> traces.TraceContent:
        return self.app.traces.content(trace, self.caller)

    @for_agents
    def authorize(self, user: str, name: Text, action: str) -> nodes.NodeTarget:
        return self.app.authorize(user, name, action, self.caller)

    @for_agents
    def check_history(self, agent: str, registry: str, epoch: str, sequence: int) -> nodes.Revision | None:
        check_is_agent(self.caller, agent)
        return self.app.check_history(agent, registry, nodes.Revision(epoch, sequence))

    @internal
    def get_account(self, user: Text) -> nodes.Owner:
        return self.app.account(user)

    @internal
    def get_limits(self, user: Text) -> limits.UserLimits:
        return self.app.limits(user)

    @internal
    def get_accounts(self, names: tuple[str, ...]) -> list[nodes.Owner]:
        return self.app.present_accounts(names)

    @internal
    def check_administrator(self, user: str) -> None:
        self.app.accounts.check_administrator(user)

    @internal
    def ensure_user(self, name: str, administrator: bool) -> nodes.NewPassword:
        return self.app.user_commands.ensure(name, administrator)

    @internal
    def suspend_user(self, name: str, reason: Text) -> None:
        self.app.accounts.suspend(name, reason)

    @internal
    def register_machine(self, mac: str, ip: str) -> nodes.NodeWanted:
        return self.app.register_machine(mac, ip)

    @on_event(vmrunner.SERVICE, hosts.AGENT_PRESENT)
    @on_event(netemu.SERVICE, hosts.AGENT_PRESENT)
    def on_agent_present(self, said: hosts.AgentPresent) -> None:
        self.app.hosts.announced(said)

    @on_event(vmrunner.SERVICE, vmrunner.VM_CHANGED)
    @on_event(bootserver.SERVICE, bootserver.MACHINE_CHANGED)
    def on_vm_changed(self, report: vmrunner.VmReport) -> None:
        self.app.apply_report(report)

    @on_event(vmrunner.SERVICE, vmrunner.VM_REMOVED)
    @on_event(bootserver.SERVICE, bootserver.MACHINE_REMOVED)
    def on_vm_removed(self, removed: vmrunner.VmRemoved) -> None:
        self.app.forget(removed)

    @at_start
    def announce_specs(self) -> None:
        self.app.announce_specs()

    @every(RECONCILE_S, at_once=True)
    def reconcile(self) -> None:
        self.app.reconcile()

    @every(PRUNE_S)
    def prune(self) -> None:
        self.app.prune()
