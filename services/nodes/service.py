"""nodes: the registry of nodes, central.

Owns:       which nodes there are, their settings, owner, image, power, addresses; the networks of their owners; the
            log of what happened to nodes (each command that changed them, each transition of their machines).
Serves:     create_nodes, get_nodes, configure_nodes, link_nodes, reboot_nodes, stop_nodes, start_nodes, rename_node,
            boot_nodes, remove_nodes, acquire_nodes, release_nodes, get_ports, get_events, get_notices, add_user,
            remove_user, get_users, change_password, diagnose (users); wanted_on_host, wanted_everywhere, registry_id, authorize,
            ensure_user, register_machine (services).
Asks:       vmrunner list_data, capacity; bootserver check_image, persist_bytes, list_machines; netemu list_ports; the broker's
            management API for the accounts of users, which are the broker's own.
Announces:  NODE_WANTED, NODE_REMOVED.
Hears:      vmrunner VM_CHANGED, VM_REMOVED of every host; bootserver MACHINE_CHANGED,
            MACHINE_REMOVED; asks all of them now and then, for what was lost.

Environment: WALT_DATABASE_URL   database (default: SQLite in WALT_STATE_DIR/nodes/registry.db)
             WALT_EVENTS_KEPT    how many events the log keeps, the newest (default: 100000)
             WALT_BROKER_API     http://USER:PASSWORD@HOST:15672, an account with the tag "administrator" (default: none,
                                 and users cannot be looked after)
             WALT_PUBLIC_METHODS file of what users may call, as `python -m deploy.public` prints it
             WALT_WATCH_CONSOLES who may watch a node's console: owner or all (default: owner)
             WALT_HOST           the host that runs new nodes
             WALT_SUBNET         addresses of the nodes; the first is the server's, the upper quarter for physical nodes
"""

from __future__ import annotations

import time
from typing import Any

from nameko.events import event_handler
from nameko.timer import timer

from services.contracts import bootserver, nodes, vmrunner, wire
from services.contracts.bootserver import DEFAULT_IMAGE
from services.contracts.names import MY_NODES, check_node_name
from services.contracts.nodes import Changed
from services.contracts.vmrunner import VmRemoved, VmReport
from services.kit.entrypoints import Caller, internal, public
from services.kit.environment import environment
from services.kit.metrics import Metrics
from services.kit.peers import Announcer
from services.nodes import (
    arguments,
    catchup,
    commands,
    creation,
    execution,
    hosts,
    journal,
    model,
    portviews,
    registration,
    request,
    users,
)
from services.nodes.accounts import Accounts
from services.nodes.extensions import StoreProvider, WatchersProvider, at_start
from services.nodes.model import Asked, Node

CATCH_UP_S = 20
PRUNE_S = 60


class NodesService:
    name = nodes.SERVICE

    caller = Caller()
    metrics = Metrics()
    store = StoreProvider()
    announce = Announcer()
    accounts = Accounts()
    watchers = WatchersProvider()

    @public
    def create_nodes(self, names: Any, settings: Any = (), image: Any = None) -> dict[str, Any]:
        env = environment()
        words, limits = arguments.texts("settings", settings), hosts.capacities([env.host])
        found = hosts.find_image(DEFAULT_IMAGE if image is None else arguments.text("image", image), self.caller)
        wish = creation.parse(arguments.texts("names", names), words, env.host, limits, *found)
        return self._carry_out(commands.create, wish, creation.Place(env.host, env.subnet), limits)

    @public
    def get_nodes(self, selection: Any) -> list[dict[str, Any]]:
        with self.store.transaction() as registry:
            return wire.dump_all(commands.views(registry, self.caller, arguments.node_set(selection)))

    @public
    def configure_nodes(self, selection: Any, settings: Any, force: Any = False) -> dict[str, Any]:
        requested = request.parse(arguments.texts("settings", settings))
        limits = hosts.capacities([environment().host]) if requested.concerns_host else {}
        return self._carry_out(commands.configure, arguments.node_set(selection), requested, limits, force=force)

    @public
    def link_nodes(self, selection: Any, network: Any, options: Any, replace: Any = False) -> dict[str, Any]:
        words = arguments.texts("options", options)
        where = arguments.node_set(selection), arguments.text("network", network)
        return self._carry_out(commands.link, *where, words, arguments.flag("replace", replace))

    @public
    def reboot_nodes(self, selection: Any, hard: Any = False) -> dict[str, Any]:
        return self._carry_out(commands.reboot, arguments.node_set(selection), arguments.flag("hard", hard))

    @public
    def stop_nodes(self, selection: Any, hard: Any = False) -> dict[str, Any]:
        return self._carry_out(commands.stop, arguments.node_set(selection), arguments.flag("hard", hard))

    @public
    def start_nodes(self, selection: Any) -> dict[str, Any]:
        return self._carry_out(commands.start, arguments.node_set(selection))

    @public
    def rename_node(self, name: Any, new_name: Any) -> dict[str, Any]:
        new = check_node_name(arguments.text("new_name", new_name))
        return self._carry_out(commands.rename, arguments.text("name", name), new)

    @public
    def boot_nodes(self, selection: Any, image: Any) -> dict[str, Any]:
        found = hosts.find_image(arguments.text("image", image), self.caller)
        return self._carry_out(commands.boot, arguments.node_set(selection), *found)

    @public
    def remove_nodes(self, selection: Any, force: Any = False) -> dict[str, Any]:
        return self._carry_out(commands.remove, arguments.node_set(selection), force=force)

    @public
    def acquire_nodes(self, selection: Any, force: Any = False) -> dict[str, Any]:
        return self._carry_out(commands.acquire, arguments.node_set(selection), force=force)

    @public
    def release_nodes(self, selection: Any, force: Any = False) -> dict[str, Any]:
        return self._carry_out(commands.release, arguments.node_set(selection), force=force)

    @public
    def get_ports(self, selection: Any) -> list[dict[str, Any]]:
        with self.store.transaction() as registry:
            chosen = commands.chosen(registry, self.caller, arguments.node_set(selection))
        return wire.dump_all(portviews.views(chosen, hosts.list_ports(node.host for node in chosen)))

    @public
    def get_events(self, selection: Any = None, since: Any = 0.0, after: Any = 0, limit: Any = 1000) -> list[Any]:
        query = arguments.event_query(since, after, limit)
        names = None if selection is None else arguments.node_set(selection)
        with self.store.transaction() as registry:
            return wire.dump_all(commands.events(registry, self.caller, names, query))

    @public
    def get_notices(self) -> list[dict[str, Any]]:
        with self.store.transaction() as registry:
            return wire.dump_all(registry.events.by_others(self.caller, time.time() - journal.NOTICE_AGE_S))

    @public
    def add_user(self, name: Any, administrator: Any = False) -> dict[str, Any]:
        new = users.new_account(arguments.text("name", name), arguments.flag("administrator", administrator))
        return wire.dump(self.accounts.add(self.caller, new, self._nodes_of(new.name)))

    @public
    def remove_user(self, name: Any, force: Any = False) -> dict[str, Any]:
        leaving, forced = arguments.text("name", name), arguments.flag("force", force)
        self.accounts.remove(self.caller, leaving, self._nodes_of(leaving), forced)
        return self._carry_out(commands.release_all, leaving, force=forced)

    @public
    def get_users(self) -> list[dict[str, Any]]:
        with self.store.transaction() as registry:
            known = registry.nodes()
        return wire.dump_all(self.accounts.views(self.caller, known))

    @public
    def change_password(self, name: Any = None, password: Any = None) -> dict[str, Any]:
        whose = self.caller if name is None else arguments.text("name", name)
        chosen = None if password is None else arguments.secret("password", password)
        return wire.dump(self.accounts.change_password(self.caller, whose, chosen))

    @public
    def diagnose(self) -> list[dict[str, Any]]:
        return wire.dump_all([self.store.diagnose(), *hosts.diagnose([environment().host])])

    @internal
    def wanted_on_host(self, host: str) -> list[dict[str, Any]]:
        return [one for one in self.wanted_everywhere() if one["host"] == host]

    @internal
    def wanted_everywhere(self) -> list[dict[str, Any]]:
        with self.store.transaction() as registry:
            return wire.dump_all(model.wanted(node) for node in registry.nodes())

    @internal
    def registry_id(self) -> str:
        with self.store.transaction() as registry:
            return str(registry.identity())

    @internal
    def authorize(self, user: str, name: str, action: str) -> dict[str, Any]:
        with self.store.transaction() as registry:
            return wire.dump(commands.authorize(registry, user, name, action, self.watchers))

    @internal
    def ensure_user(self, name: Any, administrator: Any) -> dict[str, Any]:
        return wire.dump(self.accounts.ensure(users.new_account(name, administrator)))

    @internal
    def register_machine(self, mac: str, ip: str) -> dict[str, Any]:
        env = environment()
        place = creation.Place(env.host, env.subnet)
        (node,) = self._change(commands.register, registration.parse_mac(mac), ip, place).named
        return wire.dump(model.wanted(node))

    @event_handler(bootserver.SERVICE, bootserver.MACHINE_CHANGED)
    def on_machine_changed(self, payload: dict[str, Any]) -> None:
        self.on_vm_changed(payload)

    @event_handler(bootserver.SERVICE, bootserver.MACHINE_REMOVED)
    def on_machine_removed(self, payload: dict[str, Any]) -> None:
        self.on_vm_removed(payload)

    def on_vm_changed(self, payload: dict[str, Any]) -> None:
        with self.store.transaction() as registry:
            commands.take_report(registry, wire.load(VmReport, payload), time.time())

    def on_vm_removed(self, payload: dict[str, Any]) -> None:
        catchup.forget(self.store, self.announce, wire.load(VmRemoved, payload).node_id)

    @at_start
    def announce_wishes(self) -> None:
        """A crash may have come between a wish and its event: all are announced again."""
        for wish in self.wanted_everywhere():
            self.announce(nodes.NODE_WANTED, wish)

    @timer(interval=CATCH_UP_S, eager=True)
    def catch_up(self) -> None:
        catchup.catch_up(self.store, self.announce, environment().host)

    @timer(interval=PRUNE_S)
    def prune_events(self) -> None:
        self.store.prune_events()

    def _nodes_of(self, user: str) -> list[Node]:
        with self.store.transaction() as registry:
            return commands.chosen(registry, user, MY_NODES)

    def _carry_out(self, command: commands.Command, *details: Any, force: Any = False) -> dict[str, Any]:
        outcome = self._change(command, *details, force=force)
        return wire.dump(Changed(tuple(map(model.view, outcome.named)), tuple(outcome.notes)))

    def _change(self, command: commands.Command, *details: Any, force: Any = False) -> commands.Outcome:
        asked = Asked(self.caller, time.time(), arguments.flag("force", force))
        outcome = execution.carry_out(self.store, command, asked, *details)
        for node in outcome.changed:
            self.announce(nodes.NODE_WANTED, model.wanted(node))
        return outcome


def service_for(host: str) -> type[NodesService]:
    """The service, hearing the vmrunner of this host."""

    class Hearing(NodesService):
        on_vm_changed = event_handler(vmrunner.service_on(host), vmrunner.VM_CHANGED)(NodesService.on_vm_changed)
        on_vm_removed = event_handler(vmrunner.service_on(host), vmrunner.VM_REMOVED)(NodesService.on_vm_removed)

    return Hearing
