"""When the packet filter is changed for netsetup=NAT."""

from dataclasses import replace

import pytest

from services.netemu.filters import nat, nft
from services.netemu.filters.nat import Nat
from tests.links.rig import spec
from walt.contracts.nodes import ABSENT
from walt.contracts.settings import LAN, NAT

NODE = replace(spec(1, []), ip="192.168.172.2", netsetup=NAT)
LAN_NODE = replace(NODE, netsetup=LAN)


@pytest.fixture
def applied(monkeypatch, tmp_path):
    """The commands that nft got."""
    commands: list[str] = []
    monkeypatch.setattr(nft, "apply", commands.append)
    monkeypatch.setattr(nat, "FORWARDING", tmp_path / "ip_forward")
    (tmp_path / "ip_forward").write_text("0\n")
    return commands


def test_the_filter_is_left_alone_while_netsetup_stays(applied):
    nat_rules = Nat([])
    nat_rules.replace([NODE])
    applied.clear()
    nat_rules.update(replace(NODE, version=2))
    assert applied == []
    nat_rules.update(LAN_NODE)
    nat_rules.update(replace(LAN_NODE, version=4))
    nat_rules.update(replace(NODE, power=ABSENT))
    assert ["delete element" in one for one in applied] == [True]
    nat_rules.update(NODE)
    assert ["delete element" in one for one in applied] == [True, False]
    assert nat.FORWARDING.read_text() == "1"


def test_before_the_first_reconciliation_it_is_not_known_who_is_allowed(applied):
    nat_rules = Nat([])
    nat_rules.update(LAN_NODE)
    nat_rules.update(LAN_NODE)
    assert len(applied) == 2


def test_a_reconciliation_writes_all_of_it_also_when_nothing_changed(applied):
    nat_rules = Nat(["198.18.0.0/15"])
    for _ in range(2):
        nat_rules.replace([NODE, replace(LAN_NODE, ip="192.168.172.3")])
    assert len(applied) == 2 and applied[0] == applied[1]
    assert "add element inet walt_nat nat_nodes { 192.168.172.2 }" in applied[0]
    assert "198.18.0.0/15" in applied[0]
