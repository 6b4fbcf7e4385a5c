"""The first and the last value that each setting takes, and the next ones, which it does not."""

from __future__ import annotations

import pytest

from walt.contracts.agent_names import on_host
from walt.contracts.disks import MAX_DISKS
from walt.contracts.errors import InvalidRequest
from walt.contracts.names import check_node_name, is_network_name, split_selection
from walt.contracts.network_uses import MAX_NETWORKS
from walt.contracts.settings import NodeConfig, apply_settings, parse_settings


def networks(count):
    return ",".join(["walt-net", *(f"net{number}" for number in range(1, count))])


@pytest.mark.parametrize(
    ("name", "taken", "refused"),
    [
        ("cpu.cores", ["1", "255"], ["0", "256", "-1", "1.5", ""]),
        ("ram", ["64M", "1048576G"], ["63M", "1048577G", "0G", "64", "64m"]),
        ("boot.delay", ["0", "86400", "random"], ["-1", "86401", "none", ""]),
        ("boot.timeout", ["60", "86400", "none"], ["59", "86401", "0", "random"]),
        ("boot.retries", ["0", "1000"], ["-1", "1001", "none"]),
        (
            "disks",
            ["none", "1M", "16T", ",".join(["1G"] * MAX_DISKS)],
            ["0M", "17T", ",".join(["1G"] * (MAX_DISKS + 1))],
        ),
        ("disks", ["16M[template=ext4]", "16T[template=ext4]"], ["15M[template=ext4]", "17T[template=ext4]"]),
        ("disks", ["64M[template=fat32]", "2T[template=fat32]"], ["63M[template=fat32]", "2001G[template=fat32]"]),
        ("disks", ["256M[template=hybrid-boot-v]"], ["255M[template=hybrid-boot-v]", "255M[template=hybrid-boot-p]"]),
        ("networks", ["walt-net", networks(MAX_NETWORKS)], ["", "home-net", networks(MAX_NETWORKS + 1), "walt-net,"]),
        (
            "networks",
            [
                f"walt-net,n[addr={one}]"
                for one in ("auto", "none", "10.1.2.7/24", "10.1.2.0/24", "10.0.0.1/8", "fd01::7/64")
            ],
            [
                *("walt-net[addr=none]", "walt-net,n[addr=none,addr=none]", "walt-net,n[addr=]", "walt-net,n[addr]"),
                *(f"walt-net,n[addr={one}]" for one in ("10.1.2.7", "10.1.2.255/24", "10.1.2.256/24", "127.0.0.1/8")),
                *(f"walt-net,n[addr={one}]" for one in ("224.0.0.1/24", "0.0.0.0/24", "1.2.3.4/7", "fe80::1%e/64")),
            ],
        ),
        ("netsetup", ["LAN", "NAT", "nat"], ["", "WAN", "none"]),
    ],
)
def test_setting(name, taken, refused):
    for text in taken:
        assert parse_settings([f"{name}={text}"])
    for text in refused:
        with pytest.raises(InvalidRequest, match=f"{name}.*allowed: "):
            parse_settings([f"{name}={text}"])


def test_what_has_no_value_or_no_such_name_is_no_setting():
    for text, said in (("ram", "'ram' is not a setting; allowed: NAME=VALUE"), ("rma=1", r"\(did you mean ram\?\)")):
        with pytest.raises(InvalidRequest, match=said):
            parse_settings([text])


@pytest.mark.parametrize(("delay", "timeout", "fits"), [(60, 61, True), (61, 61, False), (None, 60, True)])
def test_timeout_exceeds_delay(delay, timeout, fits):
    values = {"boot_delay_s": delay, "boot_timeout_s": timeout}
    if fits:
        assert apply_settings(NodeConfig(), values).boot_timeout_s == timeout
    else:
        with pytest.raises(InvalidRequest, match="does not exceed"):
            apply_settings(NodeConfig(), values)
    assert apply_settings(NodeConfig(), {**values, "boot_timeout_s": None}).boot_delay_s == delay


@pytest.mark.parametrize("name", ["a", "A-1", "a" * 63])
def test_node_name(name):
    assert check_node_name(name) == name.lower()


@pytest.mark.parametrize("name", ["", "1a", "a-", "-a", "a_b", "a.b", "a" * 64, "é", "a\n", "Default", "SERVER"])
def test_no_node_name(name):
    with pytest.raises(InvalidRequest):
        check_node_name(name)


def test_network_names():
    assert all(map(is_network_name, ("a", "A_1-", "a" * 32, "lab/a", f"{'l' * 20}/{'a' * 11}")))
    wrong = ("", "1a", "_a", "a b", "/b", "a/", "a/b/c", "a/1", "a" * 33, f"{'l' * 20}/{'a' * 12}", "a\n")
    assert not any(map(is_network_name, wrong))


def test_node_sets():
    assert split_selection(" A , my-nodes,a") == ["a", "my-nodes"]
    for text in ("", ",", "a,", "a,,b", " "):
        with pytest.raises(InvalidRequest, match="is not a node set; allowed: names and my-nodes"):
            split_selection(text)


@pytest.mark.parametrize("host", ["", "a.b", "A", "-a", "a-", "a" * 64, "a#", "*"])
def test_host_is_one_label(host):
    assert on_host("netemu", "a-1") == "netemu@a-1"
    with pytest.raises(ValueError, match="is not a host label"):
        on_host("netemu", host)
