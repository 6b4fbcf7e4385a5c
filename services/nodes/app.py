"""The composition root: the parts of nodes, put together once from the environment, and what they do together."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from services.kit import tasks
from services.kit.bus import removal
from services.kit.bus.bus import Bus
from services.kit.bus.repetitions import CallId
from services.kit.environment import Environment
from services.kit.reconcile_loop import keep_in_step
from services.nodes import health, operator_settings
from services.nodes.commands import dispute, lab_commands, node_commands, queries, reconcile, run_command
from services.nodes.commands.host_commands import HostCommands
from services.nodes.commands.host_directory import HostDirectory
from services.nodes.commands.node_commands import Command
from services.nodes.commands.node_waits import NodeWaits
from services.nodes.commands.once import Once
from services.nodes.commands.run_command import Result
from services.nodes.commands.trace_commands import TraceCommands
from services.nodes.commands.trash_commands import TrashCommands
from services.nodes.commands.user_commands import UserCommands
from services.nodes.domain import creation, event_texts, lab_plan, port_views, registration, traces
from services.nodes.domain.event_texts import EVENTS_KEPT, EventQuery, events_kept
from services.nodes.domain.model import NodeSummary, RequestContext
from services.nodes.domain.network_addresses import POOLS, AddressPlan
from services.nodes.domain.ownership import Takeover, Watchers
from services.nodes.domain.settings_request import SettingsRequest
from services.nodes.metrics import NodesCollector
from services.nodes.peers.agents import Agents
from services.nodes.peers.capacities import HostCapacities
from services.nodes.peers.data_in_use import VolumeInspector
from services.nodes.peers.images import count_images, resolve_image
from services.nodes.peers.trash import HostTrash
from services.nodes.storage.database import sqlite_url
from services.nodes.storage.registry import RegistryStore
from services.nodes.users.accounts import RENEW_S, Accounts
from services.nodes.users.broker_use import BrokerObjects
from services.nodes.users.broker_watch import BrokerWatch
from services.nodes.users.rabbitmq_api import ManagementApi
from services.nodes.users.restored import RestoredUsers, restored_file
from walt.contracts import nodes
from walt.contracts.bootserver import DEFAULT_IMAGE
from walt.contracts.checks import Check
from walt.contracts.hosts import HOSTS_CHANGED, Fabric
from walt.contracts.labs import LabApplied, LabDocument, LabView
from walt.contracts.limits import UserLimits, parse_change
from walt.contracts.nodes import (
    Changed,
    Event,
    NodeTarget,
    NodeView,
    NodeWanted,
    Owner,
    PortView,
    Revision,
    Specs,
    UserUse,
    UserView,
)
from walt.contracts.vmrunner import VmRemoved, VmReport

LOOK_AT_HOSTS_S = 1.0


class NodesApp:
    def __init__(self, env: Environment, bus: Bus) -> None:
        self.bus = bus
        self.watchers = operator_settings.watchers(env.variable("WALT_WATCH_CONSOLES", Watchers.OWNER.value))
        self.takeover = operator_settings.takeover(env.variable("WALT_TAKEOVER", Takeover.ALL.value))
        self.store = RegistryStore(
            env.variable("WALT_DATABASE_URL", "") or sqlite_url(env.state_dir / "nodes"),
            events_kept(env.variable("WALT_EVENTS_KEPT", str(EVENTS_KEPT))),
            operator_settings.user_limits(env.variable("WALT_USER_LIMITS", "")),
            AddressPlan(operator_settings.network_pools(env.variable("WALT_NETWORK_POOLS", POOLS)), env.subnet),
        )
        self.store.begin_epoch(time.time())
        self.transaction = self.store.transaction
        self._broker = management_api(env)
        self.accounts = accounts(env, self._broker)
        self.once = Once(self.store)
        self.user_commands = UserCommands(self.store, self.accounts, self._execute)
        self.traces = TraceCommands(self.store, self._execute)
        self.agents = Agents(bus)
        self.capacities = HostCapacities(bus)
        self.hosts = HostDirectory(
            self.store, self.capacities, env.host, env.subnet, lambda hosts: bus.announce(HOSTS_CHANGED, hosts)
        )
        self.waits = NodeWaits(self.store, self.hosts.unreachable_since)
        self.host_commands = HostCommands(self.store, self.accounts, self.hosts, self._execute)
        self.trash = TrashCommands(self.store, self.accounts, HostTrash(bus, self.hosts.reachable), self._execute)
        self.inspector = VolumeInspector(bus)
        self._collector = NodesCollector(self._summaries, self.hosts.answering)
        self._amqp_uri = env.amqp_uri
        self._tasks: list[tasks.Task] = []

    def start(self) -> None:
        self._tasks = [tasks.spawn_loop("look at hosts", self.waits.look_at_hosts, every_s=LOOK_AT_HOSTS_S)]
        if self._broker is not None:
            watch = BrokerWatch(self._broker, self._remove_from_broker)
            self._tasks += [tasks.spawn(keep_in_step, self.accounts.renew, RENEW_S), tasks.spawn(watch.run)]

    def stop(self) -> None:
        for task in self._tasks:
            task.kill()
        self._collector.close()
        self.store.close()

    def _remove_from_broker(self, objects: BrokerObjects) -> None:
        bindings = [one for one in objects.bindings if one.to_exchange]  # others end with their queues
        identities = [(one.destination, one.source, one.key, one.arguments) for one in bindings]
        removal.remove(self._amqp_uri, objects.queues, objects.exchanges, identities)

    # -- commands of users

    def create(
        self, call: CallId, names: Sequence[str], settings: Sequence[str], image: str | None, host: str | None
    ) -> Changed:
        pool = self.hosts.pool()
        capacities = self.capacities.of([host] if host in self.hosts.known else self.hosts.known)
        found = resolve_image(self.bus, image or DEFAULT_IMAGE, self.account(call.user))
        request = creation.parse(names, settings, capacities, *found, host or "")
        return self.run(call, node_commands.create, request, pool, capacities)

    def configure(self, call: CallId, selection: str, request: SettingsRequest, force: bool) -> Changed:
        capacities = self.capacities.of(self.hosts.known) if request.concerns_host else {}
        return self.run(call, node_commands.configure, selection, request, capacities, self.hosts.pool(), force=force)

    def apply_lab(self, call: CallId, document: LabDocument, dry_run: bool, force: bool) -> LabApplied:
        capacities, account = self.capacities.of(self.hosts.known), self.account(call.user)
        images = {image: resolve_image(self.bus, image, account) for image in lab_plan.images_of(document)}
        request = lab_plan.parse(document, capacities, images)
        arguments = (request, self.hosts.pool(), capacities, dry_run)
        return self._execute(call, lab_commands.apply, *arguments, force=force).answer()

    def labs(self, user: str, name: str | None) -> list[LabView]:
        with self.transaction() as registry:
            return lab_commands.views(registry, registry.accounts.of(user).id, user, name)

    def boot(self, call: CallId, selection: str, image: str) -> Changed:
        found = resolve_image(self.bus, image, self.account(call.user))
        return self.run(call, node_commands.boot, selection, *found)

    def acquire(self, call: CallId, selection: str, force: bool) -> Changed:
        is_allowed = self._may_take_over(call.user, force)
        return self.run(call, node_commands.acquire, selection, self.takeover, is_allowed, force=force)

    def run(self, call: CallId, command: Command, *arguments: Any, force: bool = False) -> Changed:
        changed: Changed = self._execute(call, command, *arguments, force=force).answer()
        return changed

    # -- what users read

    def views(self, user: str, selection: str) -> list[NodeView]:
        return self.waits.views(user, selection)

    def ports(self, user: str, selection: str) -> list[PortView]:
        with self.transaction() as registry:
            chosen = queries.select_nodes(registry, selection, registry.accounts.of(user).id)
        reports = self.agents.list_ports(node.host for node in chosen)
        with self.transaction() as registry:
            names = registry.traces.names(traces.ids_of(one for found in reports.values() for one in found or ()))
        named = {host: found and [traces.with_names(one, names) for one in found] for host, found in reports.items()}
        return port_views.views(chosen, named, self.agents.get_addresses([node.id for node in chosen]))

    def events(self, user: str, selection: str | None, query: EventQuery) -> list[Event]:
        with self.transaction() as registry:
            return queries.events(registry, registry.accounts.of(user).id, selection, query)

    def notices(self, user: str) -> list[Event]:
        with self.transaction() as registry:
            return registry.events.by_others(registry.accounts.of(user), time.time() - event_texts.NOTICE_AGE_S)

    def diagnose(self) -> list[Check]:
        return health.diagnose(self.store, self.bus, self.hosts.known, self.hosts.unreachable_since())

    # -- accounts of users

    def accept_registry(self, caller: str) -> list[str]:
        self.accounts.check_administrator(caller)
        with self.transaction() as registry:
            decided = dispute.accept(registry, caller, time.time())
        self.announce_specs()
        return decided

    def remove_user(self, caller: str, name: str, force: bool) -> Changed:
        changed: Changed = self.user_commands.remove(caller, name, force).answer()
        return changed

    def users(self, caller: str) -> list[UserView]:
        return self.accounts.views(caller, self._summaries())

    def restore(self, caller: str, disk: str, node: str) -> Changed:
        changed: Changed = self.trash.restore(caller, disk, node).answer()
        return changed

    def use(self, caller: str, name: str) -> UserUse:
        return self.user_commands.use(caller, name, lambda account: count_images(self.bus, account))

    def limit(self, caller: str, name: str, texts: Sequence[str]) -> UserUse:
        self.user_commands.limit(caller, name, parse_change(texts))
        return self.use(caller, name)

    # -- services and agents

    def limits(self, user: str) -> UserLimits:
        with self.transaction() as registry:
            return registry.accounts.limits(registry.accounts.of(user).id)

    def account(self, user: str) -> Owner:
        with self.transaction() as registry:
            found = registry.accounts.of(user)
        return Owner(found.name, found.id)

    def present_accounts(self, names: Sequence[str]) -> list[Owner]:
        with self.transaction() as registry:
            found = [registry.accounts.present(name) for name in names]
        return [Owner(one.name, one.id) for one in found if one]

    def specs(self, host: str = "") -> Specs:
        with self.transaction() as registry:
            return queries.specs(registry, host)

    def authorize(self, user: str, name: str, action: str, host: str) -> NodeTarget:
        """host: the further one whose agent asks, "": another service does."""
        with self.transaction() as registry:
            account = registry.accounts.known(user) if host else registry.accounts.of(user)
            return queries.authorize(registry, account.id, name, action, self.watchers)

    def prune(self) -> None:
        self.store.prune(time.time())

    def register_machine(self, mac: str, ip: str) -> NodeWanted:
        outcome = self._execute(CallId(""), node_commands.register, registration.parse_mac(mac), ip, self.hosts.pool())
        with self.transaction() as registry:
            return registry.specs(outcome.nodes)[0]

    def check_history(self, agent: str, identity: str, found: Revision) -> Revision | None:
        with self.transaction() as registry:
            return dispute.check(registry, agent, identity, found, time.time())

    def apply_report(self, report: VmReport) -> None:
        with self.transaction() as registry:
            changed = reconcile.apply_report(registry, report, time.time())
        reconcile.announce_all(self.bus.announce, changed)

    def forget(self, removed: VmRemoved) -> None:
        reconcile.forget(self.store, self.bus.announce, removed.node_id, removed.host)

    def announce_specs(self) -> None:
        """All of them, as a crash may have come between a commit and its event."""
        reconcile.announce_all(self.bus.announce, self.specs().nodes)

    def reconcile(self) -> None:
        """Virtual nodes with the vmrunner of their host, physical nodes with bootserver."""
        tasks.map_concurrently(self._reconcile_host, self.hosts.reachable())
        announce = self.bus.announce
        reconcile.reconcile(self.store, announce, lambda registry: registry.physical_nodes(), self.agents.list_machines)

    def fabric(self, host: str) -> Fabric:
        with self.transaction() as registry:
            return queries.fabric(registry, self.hosts.addresses, host)

    def _reconcile_host(self, host: str) -> None:
        reconcile.reconcile(
            self.store,
            self.bus.announce,
            lambda registry: registry.virtual_nodes(host),
            lambda: self.agents.list_vms(host),
        )

    def _execute(self, call: CallId, command: Callable[..., Result], *arguments: Any, force: bool = False) -> Result:
        """Runs the command and announces the specs that it changed."""
        context = RequestContext(call.user, time.time(), force, key=call.key)
        outcome = run_command.run(self.store, self.inspector.check_empty, command, context, *arguments)
        reconcile.announce_all(self.bus.announce, outcome.specs)
        return outcome

    def _may_take_over(self, user: str, force: bool) -> bool:
        if self.takeover is Takeover.ADMINISTRATORS:
            return force and self.accounts.is_administrator(user)
        return self.takeover is Takeover.ALL

    def _summaries(self) -> list[NodeSummary]:
        with self.transaction() as registry:
            return registry.summaries()


def management_api(env: Environment) -> ManagementApi | None:
    url, vhost = env.variable("WALT_BROKER_API", ""), unquote(urlsplit(env.amqp_uri).path[1:]) or "/"
    return ManagementApi(url, vhost) if url else None


def accounts(env: Environment, broker: ManagementApi | None) -> Accounts:
    restored = RestoredUsers(restored_file(env.state_dir / nodes.SERVICE))
    return Accounts(broker, env.variable("WALT_PUBLIC_METHODS", ""), restored)
