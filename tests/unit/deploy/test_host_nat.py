from ipaddress import IPv4Network
from pathlib import Path

import pytest

from deploy.local import host_nat
from deploy.local.instance import Instance, Uplink
from walt.contracts.errors import Conflict


def test_rules_name_nothing_but_the_instances_own() -> None:
    text = host_nat.ruleset(Instance("unit"), Uplink(IPv4Network("198.18.0.4/30")))
    matches = [line for line in text.splitlines() if any(verb in line for verb in ("drop", "accept;", "masquerade"))]
    rules = [line for line in matches if "policy" not in line]
    assert rules and all("walt-unit" in line for line in rules)
    assert text.count("table ip walt_unit") == 3


def test_resolvers_that_only_the_host_can_ask_are_left_out() -> None:
    lines = ["# a comment", "nameserver 127.0.0.53", "nameserver 192.0.2.1", "nameserver fe80::1%eth0", "nameserver"]
    assert host_nat.usable_resolvers(lines) == ["192.0.2.1"]


def test_a_host_that_does_not_forward_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_nat, "FORWARDING", tmp_path / "ip_forward")
    host_nat.FORWARDING.write_text("0\n")
    with pytest.raises(Conflict, match="does not forward"):
        host_nat.check()
    host_nat.FORWARDING.write_text("1\n")
    host_nat.check()
