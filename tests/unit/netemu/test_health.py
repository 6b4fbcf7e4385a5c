"""What `walt doctor` is told about links."""

from types import SimpleNamespace

import pytest

from services.netemu import health
from services.netemu.filters.anti_spoofing import Bindings
from services.netemu.ports.plan import BROKEN, PortState, Snapshot
from services.netemu.ports.port import Port
from services.netemu.ports.traffic import CableState
from walt.contracts.errors import Failed
from walt.contracts.hosts import HostAddress
from walt.contracts.links import Direction, LinkModel
from walt.contracts.netemu import CABLE, KERNEL
from walt.contracts.nodes import Network

ALONE = SimpleNamespace(underlay="", fault="", stations=SimpleNamespace(others=[]))


def found(
    shaper,
    shares_us=(),
    cable=None,
    registry_fault="",
    interface="",
    interface_fault="",
    backend="",
    bridge="walt-net",
    has_joined=True,
):
    ports = {}
    for number, share_us in enumerate(shares_us, 1):
        port = Port(number, f"vnode{number}", "alice", 3, Network(5, "n", ""), LinkModel(Direction(1)), share_us)
        ports[port.tap] = PortState(port, backend or shaper, port.applied)
    emulation = SimpleNamespace(
        shaper=shaper,
        has_joined=has_joined,
        no_netem="" if shaper == KERNEL else "the kernel refuses",
        snapshot=lambda: Snapshot(shaper, frozenset({bridge}), ports),
        cable=SimpleNamespace(show=lambda: cable),
    )
    uplink = SimpleNamespace(name_or_mac=interface, fault=interface_fault)
    found = health.diagnose(emulation, Bindings("192.168.172.0/22"), uplink, ALONE, registry_fault)
    return {check.subject: check for check in found}


@pytest.mark.parametrize(
    "shares_us, figure",
    [
        ([], "no node measured yet"),
        ([0], "no node measured yet"),
        ([612], "0.61 ms per node, measured on 1 node"),
        ([612, 0, 480], "0.48 ms to 0.61 ms per node, measured on 2 nodes"),
    ],
)
def test_the_platform_latency(shares_us, figure):
    assert figure in found(CABLE, shares_us)["platform latency"].found


def test_ports_that_pass_nothing_and_a_walt_net_that_is_not_ours_are_told():
    well = found(CABLE, [0, 0])["ports"]
    assert (well.status, well.found) == ("ok", "2 ports, 1 bridges")
    broken = found(CABLE, [0, 0], backend=BROKEN)["ports"]
    assert (broken.status, broken.found) == ("fail", "broken: vnode1 on n, vnode2 on n")
    missing = found(CABLE, [0], backend=BROKEN, bridge="net5")
    assert "ports" not in missing and missing["walt-net"].status == "fail"


def test_a_host_that_has_not_joined_is_told():
    check = found(CABLE, bridge="net5", has_joined=False)["walt-net"]
    assert check.status == "fail" and "has not joined yet" in check.found
    assert "ports" in found(CABLE, has_joined=False), "walt-net is there since before a restart"


def underlay(monkeypatch, mtus, own="10.7.0.1", fault=""):
    others = [HostAddress(f"host{at}", f"10.7.0.{at}", "", "") for at in range(2, 2 + len(mtus))]
    overlay = SimpleNamespace(underlay=own, source=own, fault=fault, stations=SimpleNamespace(others=others))
    monkeypatch.setattr(health, "measure_mtus", lambda own, addresses: dict(zip(addresses, mtus, strict=True)))
    return [(check.status, check.found) for check in health._underlay(overlay)]


def test_the_way_to_other_hosts(monkeypatch):
    assert underlay(monkeypatch, []) == []
    (in_pieces,) = underlay(monkeypatch, [9000, 1500])
    assert in_pieces == (
        "ok",
        "2 other hosts answer; packets of nodes of more than 1450 bytes go there in pieces (MTU 1500)",
    )
    assert underlay(monkeypatch, [1550]) == [
        ("ok", "1 other host answers; packets of up to 1500 bytes go there in one piece")
    ]
    assert underlay(monkeypatch, [0, 1500]) == [("warn", "no answer from host2 (10.7.0.2)")]
    ((_, many),) = underlay(monkeypatch, [0] * 7)
    assert many.endswith("host6 (10.7.0.6) and 2 more")
    assert underlay(monkeypatch, [1500], own="") == [("warn", "this host has no address for host2")]
    assert underlay(monkeypatch, [1500], fault="the kernel refuses") == [("fail", "the kernel refuses")]


def test_the_backend_and_what_becomes_of_seeds():
    assert "the kernel refuses" in found(CABLE)["links"].found and "seed" in found(CABLE)["links"].found
    assert "netem" in found(KERNEL)["links"].found and "seed" in found(KERNEL)["links"].found
    assert "cable" not in found(KERNEL), "on a host with netem there may be none"


@pytest.mark.parametrize("realtime, status", [(True, "ok"), (False, "warn")])
def test_a_cable_is_shown_on_either(realtime, status):
    state = CableState(1, realtime, 55.0, {}, {}, {}, {})
    assert found(KERNEL, cable=state)["cable"].status == found(CABLE, cable=state)["cable"].status == status


@pytest.mark.parametrize("realtime", [True, False])
def test_a_cable_that_is_interpreted_is_told(realtime):
    for compiled, said in ((True, "machine code"), (False, "interpreted")):
        check = found(CABLE, cable=CableState(1, realtime, 55.0, {}, {}, {}, {}, compiled=compiled))[
            "engine of the cable"
        ]
        assert check.status == "ok" and check.found.startswith(said) and bool(check.fix) != compiled


def test_a_kernel_that_cannot_bind_addresses_is_told():
    for is_required, status in ((True, "fail"), (False, "warn")):
        bindings = Bindings("192.168.172.0/22", is_required=is_required)
        assert health._addresses(bindings).status == "ok"
        bindings._installing.failed("nft: no such family")
        check = health._addresses(bindings)
        assert check.status == status and "no such family" in check.found and "another's address" in check.consequence


def test_ports_of_another_registry_are_told():
    assert found(CABLE)["registry"].status == "ok"
    check = found(CABLE, registry_fault="nodes has registry r2 now")["registry"]
    assert (check.status, check.found) == ("fail", "nodes has registry r2 now")


def test_the_physical_interface_is_told_when_one_is_named():
    assert "interface" not in found(KERNEL)
    assert found(KERNEL, interface="eth1")["interface"].status == "ok"
    check = found(KERNEL, interface="eth1", interface_fault="no interface here has the name eth1")["interface"]
    assert (check.status, check.found) == ("warn", "no interface here has the name eth1")


def test_fault_s13_a_cable_that_does_not_answer_is_told_beside_all_that_is_known():
    def fail():
        raise Failed("the cable does not answer (timed out)")

    emulation = SimpleNamespace(shaper=CABLE, no_netem="", snapshot=fail)
    uplink = SimpleNamespace(name_or_mac="", fault="")
    checks = {one.subject: one for one in health.diagnose(emulation, Bindings("192.168.172.0/22"), uplink, ALONE, "")}
    assert (checks["cable"].status, checks["cable"].found) == ("fail", "the cable does not answer (timed out)")
    assert checks["links"].status == "ok" and "addresses" in checks
