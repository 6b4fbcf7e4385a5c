"""`nodes` as its peers know it: the specs that a test puts, and what agents report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tests.support.fakes.fake_service import FakeService, serves
from tests.support.specs import spec
from walt.contracts import bootserver, nodes, serialization, vmrunner
from walt.contracts.errors import Denied, Failed, NotFound, NotOwner
from walt.contracts.hosts import PRESENT, Fabric, HostAddresses, HostView, station_of
from walt.contracts.limits import UNLIMITED
from walt.contracts.nodes import Interface, Network, NodeRemoved, NodeTarget, NodeWanted, Owner, Revision, Specs
from walt.contracts.traces import TraceContent
from walt.contracts.vmrunner import BOOTED, VmRemoved, VmReport

HOST = "lab"


class FakeNodes(FakeService):
    """specs: by node id; states: of nodes that are not booted; reports, removed: as they came from agents; accounts:
    {name: id} of the present ones; administrators: names of users; limits: of each user; addresses: of the hosts, None
    as from a `nodes` that knows none; traces: {id: text}."""

    name = nodes.SERVICE

    def __init__(self, specs: Sequence[NodeWanted] = (), registry: str = "r1", hosts: Sequence[str] = (HOST,)) -> None:
        super().__init__()
        self.specs = {spec.id: spec for spec in specs}
        self.registry = registry
        self.states: dict[int, str] = {}
        self.reports: list[VmReport] = []
        self.removed: list[int] = []
        self.accounts: dict[str, str] = {}
        self.administrators: set[str] = set()
        self.limits = UNLIMITED
        self.suspended: list[str] = []
        self.addresses: HostAddresses | None = None
        self._hosts = hosts
        self.revision = Revision()
        self.accepted = set[str]()
        self.traces: dict[int, str] = {}
        self.asked_traces: list[int] = []

    def put(self, spec: NodeWanted) -> None:
        """Store the spec and announce it."""
        self.specs[spec.id] = spec
        self.announce(nodes.NODE_WANTED, self._signed(spec))

    def remove(self, node_id: int) -> None:
        spec = self.specs.pop(node_id)
        self.announce(nodes.NODE_REMOVED, NodeRemoved(spec.id, spec.name, spec.host, self.registry, self.revision))

    def reported_states(self, node_id: int) -> list[str]:
        return [report.state for report in self.reports if report.node_id == node_id]

    def last_report(self, node_id: int) -> VmReport | None:
        return next((report for report in reversed(self.reports) if report.node_id == node_id), None)

    @serves
    def get_specs(self, host: str = "") -> Any:
        found = [self._signed(spec) for spec in self.specs.values() if host in ("", spec.host, spec.moves_from)]
        return serialization.dump(Specs(self.registry, tuple(found), self.revision))

    @serves
    def get_trace(self, trace: int) -> Any:
        self.asked_traces.append(trace)
        return serialization.dump(TraceContent(self.traces[trace]))

    @serves
    def get_hosts(self) -> Any:
        hosts = self.addresses.hosts if self.addresses else ()
        views = (
            HostView(one.name, PRESENT, 0.0, False, not number, 0, 0, ip=one.ip) for number, one in enumerate(hosts)
        )
        return serialization.dump_all(views)

    @serves
    def get_fabric(self, host: str) -> Any:
        if self.addresses is None:
            raise Failed("there is no method get_fabric")
        others = [spec for spec in self.specs.values() if spec.host != host and spec.power != nodes.ABSENT]
        return serialization.dump(Fabric(self.addresses, tuple(map(station_of, others))))

    @serves
    def check_history(self, agent: str, registry: str, epoch: str, sequence: int) -> Any:
        """It has had one epoch, unless `accepted` names others."""
        known = registry == self.registry and epoch in ("", self.revision.epoch) and sequence <= self.revision.sequence
        return serialization.dump(self.revision) if known or {registry, epoch} & self.accepted else None

    @serves
    def authorize(self, user: str, name: str, action: str) -> Any:
        spec = next((spec for spec in self.specs.values() if spec.name == name), None)
        if spec is None:
            raise NotFound(f"there is no node '{name}'")
        if spec.owner != user and action != nodes.PING and (spec.owner or action != nodes.WATCH_CONSOLE):
            raise NotOwner(f"node '{name}' belongs to {spec.owner}")
        state = self.states.get(spec.id, BOOTED)
        target = NodeTarget(
            spec.id, name, spec.owner, spec.host, spec.ip, state, spec.type, spec.version, spec.owner_account
        )
        return serialization.dump(target)

    @serves
    def get_account(self, user: str) -> Any:
        return serialization.dump(Owner(user, self.accounts.setdefault(user, f"{user.encode().hex()}01")))

    @serves
    def get_limits(self, user: str) -> Any:
        return serialization.dump(self.limits)

    @serves
    def get_accounts(self, names: Sequence[str]) -> Any:
        return serialization.dump_all([Owner(name, self.accounts[name]) for name in names if name in self.accounts])

    @serves
    def suspend_user(self, name: str, reason: str) -> None:
        self.suspended.append(name)

    @serves
    def check_administrator(self, user: str) -> None:
        if user not in self.administrators:
            raise Denied(f"{user} is not an administrator of this platform")

    @serves
    def register_machine(self, mac: str, ip: str) -> Any:
        known = [spec for spec in self.specs.values() if mac in (port.mac for port in spec.interfaces)]
        if not known:
            port = Interface(nodes.FIRST_SLOT, mac, Network(nodes.WALT_NET_ID, "walt-net", ""))
            number = max(self.specs, default=0) + 1
            kind = {"type": nodes.PHYSICAL, "owner": "", "interfaces": (port,)}
            known = [spec(id=number, name=f"pc-{mac[-5:].replace(':', '')}", host=self._hosts[0], ip=ip, **kind)]
            self.put(known[0])
        return serialization.dump(self._signed(known[0]))

    def hears(self) -> list[tuple[str, str, Callable[[Any], None]]]:
        runners = [vmrunner.SERVICE, *map(vmrunner.service_on, self._hosts)]
        return [
            *((runner, vmrunner.VM_CHANGED, self._on_report) for runner in runners),
            *((runner, vmrunner.VM_REMOVED, self._on_removed) for runner in runners),
            (bootserver.SERVICE, bootserver.MACHINE_CHANGED, self._on_report),
            (bootserver.SERVICE, bootserver.MACHINE_REMOVED, self._on_removed),
        ]

    def _on_report(self, payload: Any) -> None:
        self.reports.append(serialization.load(VmReport, payload))

    def _on_removed(self, payload: Any) -> None:
        self.removed.append(serialization.load(VmRemoved, payload).node_id)

    def _signed(self, spec: NodeWanted) -> NodeWanted:
        return replace(spec, registry=self.registry, revision=self.revision)
