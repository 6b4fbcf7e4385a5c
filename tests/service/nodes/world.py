"""One nodes service on a real RabbitMQ, users alice and bob, and fakes of the peers of nodes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from services.kit.bus.app import container
from services.kit.bus.bus import BrokerBus, Bus
from services.kit.environment import environment
from services.nodes.app import NodesApp
from services.nodes.service import NodesService
from tests.support.amqp_user import AmqpUser
from tests.support.fakes.bootserver import FakeBootserver
from tests.support.fakes.fake_service import FakeService, serves, serving
from tests.support.fakes.vmrunner import FakeVmrunner
from tests.support.specs import spec as sample_spec
from tests.support.wait import wait_until
from walt.contracts import nodes, serialization
from walt.contracts.errors import WaltError
from walt.contracts.nodes import NodeRemoved, NodeWanted, Specs
from walt.contracts.vmrunner import BOOTED, VM_CHANGED, VmReport

HOST = "testhost"
SUBNET = "10.77.0.0/28"  # 16 addresses: one for the net, one for the server, 4 for machines, 10 for virtual nodes
FREE = ""
MARKER = "marker"


class Vmrunner(FakeVmrunner):
    """It has received every spec before it answers for the data of that node."""

    bus: Bus

    @serves
    def list_data(self, node_id: int) -> Any:
        spec = next(spec for spec in specs(self.bus) if spec.id == node_id)
        wait_until(lambda: spec in self.specs or self._known.get(node_id) == spec)
        return super().list_data(node_id)


def specs(bus: Bus) -> tuple[NodeWanted, ...]:
    return serialization.load(Specs, bus.call("nodes", "get_specs")).nodes


class Platform:
    """The service and its peers. `restart` is a new process on the same state."""

    def __init__(self, uri: str, user_uri: Callable[[str], str]) -> None:
        self.uri, self.user_uri = uri, user_uri
        self.bus = BrokerBus(uri, "tests")
        self.vmrunner = Vmrunner(HOST)
        self.vmrunner.bus = self.bus
        self.bootserver = FakeBootserver(("default", "debian", "alice/mine", "bob/mine"))
        self._fakes: dict[str, contextlib.ExitStack] = {}
        self._users: dict[str, AmqpUser] = {}
        self._container: Any = None

    def start(self, fake: FakeService) -> None:
        if fake.name not in self._fakes:
            self._fakes[fake.name] = contextlib.ExitStack()
            self._fakes[fake.name].enter_context(serving(self.uri, fake))

    def stop(self, fake: FakeService) -> None:
        if fake.name in self._fakes:
            self._fakes.pop(fake.name).close()

    def start_all(self) -> None:
        self.start(self.bootserver)
        self.start(self.vmrunner)
        if self._container is None:
            self._container = container(NodesService, environment())
            for entrypoint in self._container.entrypoints:
                if hasattr(entrypoint, "_seconds"):
                    entrypoint._seconds = 3600  # once, at start; a later turn would come into any test
            self._container.start()

    def stop_all(self) -> None:
        self._container.stop()
        for stack in self._fakes.values():
            stack.close()
        for user in self._users.values():
            user.close()
        self.bus.close()

    def restart(self) -> None:
        self._container.stop()
        self._container = None
        self.start_all()

    @property
    def app(self) -> NodesApp:
        provider = next(one for one in self._container.dependencies if one.attr_name == "app")
        app: NodesApp = provider.app
        return app

    def forget_all(self) -> None:
        """Delete all nodes, and forget all events. They come in order: those from before precede the marker."""
        with self.app.transaction() as registry:
            for node in registry.nodes():
                registry.delete(node.id)
        self.vmrunner.announce(nodes.NODE_WANTED, sample_spec(name=MARKER), by="nodes")
        self.vmrunner.announce(nodes.NODE_REMOVED, NodeRemoved(0, MARKER, HOST), by="nodes")
        wait_until(lambda: MARKER in self.vmrunner.removed and MARKER in self.announced())
        for seen in (self.vmrunner.vms, self.vmrunner.specs, self.vmrunner.removed, self.vmrunner.inspected):
            seen.clear()
        self.vmrunner.written.clear()
        self.vmrunner.persisted.clear()
        self.bootserver.persisted.clear()
        self.bootserver.machines.clear()
        self.bootserver.set_addresses.clear()

    def announced(self) -> list[str]:
        """The names of the nodes whose specs vmrunner has received."""
        return [spec.name for spec in self.vmrunner.specs]

    def user(self, name: str) -> AmqpUser:
        if name not in self._users:
            self._users[name] = AmqpUser(self.user_uri(name))
        return self._users[name]

    def call(self, user: str, method: str, *args: Any, **arguments: Any) -> Any:
        return self.user(user).call(f"nodes.{method}", *args, **arguments)

    def refusal(self, user: str, method: str, *args: Any, **arguments: Any) -> str:
        """'NotFound: there is no …' of a call that must be refused."""
        with pytest.raises(WaltError) as refused:
            self.call(user, method, *args, **arguments)
        return f"{type(refused.value).__name__}: {refused.value}"

    def view(self, name: str, user: str = "alice") -> dict[str, Any]:
        (view,) = self.call(user, "get_nodes", name)
        return dict(view)

    def state(self, name: str) -> str:
        return str(self.view(name)["state"])

    def specs(self) -> tuple[NodeWanted, ...]:
        return specs(self.bus)

    def spec(self, name: str) -> NodeWanted:
        """The newest node of this name, be it wanted absent."""
        return next(spec for spec in reversed(self.specs()) if spec.name == name)

    def report(self, name: str, state: str = BOOTED, sequence: int = 1, **changes: Any) -> VmReport:
        """As vmrunner would make it of the present spec."""
        spec = self.spec(name)
        values = {"boot": spec.boot, "run": 1, "since": 1000.0, "reason": "", "host": HOST, **changes}
        return VmReport(node_id=spec.id, name=name, sequence=sequence, state=state, **values)

    def send(self, report: VmReport) -> None:
        self.vmrunner.announce(VM_CHANGED, report)

    def apply(self, report: VmReport) -> None:
        """Send it, and return once nodes has it."""
        self.send(report)
        wait_until(lambda: self.state(report.name) == report.state)

    def pass_marker(self, name: str, sequence: int = 1_000_000) -> None:
        """Return once nodes has seen all reports sent so far: they come in order, and this one is the last. The state
        of the node stays."""
        state = self.state(name)
        reason = f"marker {sequence}"
        self.send(self.report(name, state, sequence, reason=reason))
        wait_until(lambda: self.view(name)["reason"] == reason)
