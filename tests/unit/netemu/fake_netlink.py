"""A kernel in memory: the interfaces that netemu makes, and which of them are bridged or shaped."""

from __future__ import annotations

from dataclasses import replace

from services.netemu.ports.plan import KernelInterface
from services.netemu.ports.port import helper_alias, helpers
from services.netemu.ports.traffic import CableState
from walt.contracts.errors import Failed
from walt.contracts.links import LinkModel


class FakeNetlink:
    """unshapable: taps that it refuses to shape; dumps: how often all interfaces were read. What emulation.py calls is
    here, and nothing else."""

    def __init__(self, *interfaces: KernelInterface) -> None:
        self.by_name = {one.name: one for one in interfaces}
        self.unshapable: set[str] = set()
        self.dumps = 0

    def interfaces(self) -> list[KernelInterface]:
        self.dumps += 1
        return list(self.by_name.values())

    def make_bridge(self, name: str, alias: str, address: str = "", mac: str = "") -> None:
        self.by_name[name] = KernelInterface(name, "bridge", alias, "")

    def make_tap(self, name: str, alias: str, *, mtu: int, queue_frames: int = 1000) -> None:
        self.by_name[name] = KernelInterface(name, "tun", alias, "")

    def set_alias(self, name: str, alias: str) -> None:
        self.by_name[name] = replace(self.by_name[name], alias=alias)

    def set_bridge(self, name: str, bridge: str) -> None:
        assert not bridge or self.by_name[bridge].kind == "bridge"
        self.by_name[name] = replace(self.by_name[name], master=bridge)

    def set_group(self, name: str, group: int) -> None:
        self.by_name[name] = replace(self.by_name[name], group=group)

    def forward_group_addresses(self, name: str, *, is_bridge: bool) -> None:
        assert is_bridge == (self.by_name[name].kind == "bridge")
        self.by_name[name] = replace(self.by_name[name], forwards_group_addresses=True)

    def bound_forwarding_table(self, bridge: str) -> None:
        assert self.by_name[bridge].kind == "bridge"
        self.by_name[bridge] = replace(self.by_name[bridge], learns_few_addresses=True)

    def remove(self, name: str) -> None:
        self.by_name.pop(name, None)

    def shape(self, tap: str, link: LinkModel) -> None:
        if tap in self.unshapable:
            raise Failed(f"{tap} cannot be shaped")
        ifb = helpers(tap)["ifb"]
        self.by_name[ifb] = KernelInterface(ifb, "ifb", helper_alias(tap), "")

    def unshape(self, tap: str) -> None:
        self.remove(helpers(tap)["ifb"])

    def stop_redirect(self, source: str) -> None:
        assert source in self.by_name


class IdleCable:
    """It runs, and carries no port."""

    def show(self) -> CableState:
        return CableState(1, True, 0, {}, {}, {}, {})

    def drop_port(self, tap: str) -> None:
        pass
