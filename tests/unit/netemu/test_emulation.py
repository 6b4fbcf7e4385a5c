"""What is done to the world, and what when it refuses, on a kernel that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.contracts.errors import Failed
from services.contracts.links import Direction, LinkModel
from services.contracts.nodes import Interface, Network
from services.netemu.emulation import Emulation
from services.netemu.plan import Link
from services.netemu.ports import Port, helper_alias, network_alias, port_alias
from services.netemu.traffic import CableState

HOME = Network(5, "home-net", "alice")
SLOW = LinkModel(Direction(10_000))
PORTS = [Port(1, "vnode1", "alice", 3, HOME, SLOW), Port(2, "vnode2", "alice", 3, HOME, SLOW)]


class FakeKernel:
    """Two ports that are on no bridge: they pass nothing. It shapes all but those that it refuses to."""

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.shaped: set[str] = set()

    def links(self) -> list[Link]:
        taps = [Link(port.tap, "tun", port_alias(port), "net5" if port.tap in self.shaped else "") for port in PORTS]
        ifbs = [Link(tap.replace("vn", "ib"), "ifb", helper_alias(tap), "") for tap in self.shaped]
        bridges = [Link("walt-net", "bridge", network_alias(Network(0, "walt-net", "")), "")]
        return [*taps, *ifbs, *bridges, Link("net5", "bridge", network_alias(HOME), "")]

    def shape(self, tap: str, link: LinkModel) -> None:
        if tap in self.refused:
            raise Failed(f"{tap} cannot be shaped")
        self.shaped.add(tap)

    def __getattr__(self, name: str) -> object:
        return lambda *_words, **_values: None


class RunningCable:
    """Which carries nothing."""

    def show(self) -> CableState:
        return CableState(1, True, 0, {}, {}, {}, {})

    def drop_port(self, tap: str) -> None:
        pass


@pytest.fixture
def emulation(tmp_path: Path):
    emulation = Emulation(tmp_path, 64901, "192.168.172.1/22")
    emulation.kernel = FakeKernel()  # type: ignore[assignment]
    emulation.cable = RunningCable()  # type: ignore[assignment]
    return emulation


def test_a_port_that_cannot_be_mended_keeps_no_other_from_it(emulation, caplog):
    emulation.kernel.refused = {"vn1e3"}
    assert [action.port.node_id for action in emulation.mend()] == [2]
    assert emulation.mend() == []
    assert caplog.text.count("vn1e3 cannot be shaped") == 1, "it is said once"
    emulation.kernel.refused = set()
    assert [action.port.node_id for action in emulation.mend()] == [1]


def test_a_change_that_fails_is_looked_after_at_once(emulation):
    emulation.mend()
    emulation.kernel.refused = {"vn1e3"}
    with pytest.raises(Failed, match="vn1e3"):
        emulation.relink(1, "vnode1", "alice", [Interface(3, "", HOME, LinkModel(Direction(20_000)))])
    emulation.kernel.shaped = {"vn2e3"}
    emulation.kernel.refused = set()
    assert [action.port.node_id for action in emulation.mend()] == [1]
