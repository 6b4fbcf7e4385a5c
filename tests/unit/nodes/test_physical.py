"""Physical nodes: how machines become nodes, and which commands they refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.nodes.domain import model, physical, port_views, registration, settings_request
from services.nodes.domain.model import Node, RequestContext, Status
from services.nodes.domain.placement import HostPool
from walt.contracts import nodes
from walt.contracts.bootserver import DEFAULT_IMAGE
from walt.contracts.errors import Conflict, InvalidRequest
from walt.contracts.nodes import Interface, Network
from walt.contracts.settings import SETTINGS, NodeConfig
from walt.contracts.vmrunner import BOOTED, FAILED, LOADING, STOPPED

MAC, IP = "52:54:00:1a:2b:3c", "192.168.175.7"
POOL = HostPool("lab", "192.168.172.0/22")
NO_USER = RequestContext("", 5.0)


def stored(mac, **changes):
    node = Node("pc-5254001a2b3c", "lab", "", "default", IP, NodeConfig(), Status(BOOTED, 1.0, ""), id=3)
    port = Interface(2, mac, Network(0, "walt-net", ""))
    return replace(node, interfaces=(port,), **{"type": nodes.PHYSICAL, **changes})


PC = stored(MAC)
VIRTUAL = stored("52:54:00:00:00:01", name="vnode1", ip="192.168.172.2", type=nodes.VIRTUAL)


def test_a_new_machine_is_a_free_node_that_boots_the_default_image():
    node = registration.new_node(MAC, IP, None, ["vnode1"], POOL, NO_USER)
    assert (node.name, node.is_free, node.image, node.ip) == ("pc-5254001a2b3c", True, DEFAULT_IMAGE, IP)
    assert (node.type, node.status.state, node.host) == (nodes.PHYSICAL, LOADING, "lab")


def test_its_name_may_be_taken():
    names = ["pc-5254001a2b3c", "pc-5254001a2b3c-2"]
    assert registration.new_node(MAC, IP, None, names, POOL, NO_USER).name == "pc-5254001a2b3c-3"


def test_a_known_machine_is_accepted():
    registration.check_known(PC, MAC, IP)


@pytest.mark.parametrize(
    ("mac", "ip", "known", "why"),
    [
        (MAC, "192.168.175.8", PC, "not its own"),
        (MAC, IP, replace(PC, power=nodes.ABSENT), "being removed"),
        ("52:54:00:00:00:01", IP, VIRTUAL, "virtual node 'vnode1'"),
    ],
)
def test_a_mac_that_is_not_this_machines_is_refused(mac, ip, known, why):
    with pytest.raises(Conflict, match=why):
        registration.check_known(known, mac, ip)


def test_an_address_that_dhcp_does_not_give_registers_nobody():
    with pytest.raises(InvalidRequest, match=r"192\.168\.175\.0 to 192\.168\.175\.254"):
        registration.new_node(MAC, "192.168.172.9", None, [], POOL, NO_USER)
    with pytest.raises(Conflict, match="vnode1"):
        registration.new_node(MAC, VIRTUAL.ip, VIRTUAL, [], POOL, NO_USER)


def test_mac_is_read_in_any_case_and_nothing_else_is_one():
    assert registration.parse_mac("52:54:00:1A:2B:3C") == MAC
    for text in ("", "52:54:00:1a:2b", "53:54:00:1a:2b:3c", f"{MAC}\n", "52-54-00-1a-2b-3c"):
        with pytest.raises(InvalidRequest, match="is not the MAC"):
            registration.parse_mac(text)


def test_a_machine_that_boots_was_switched_on():
    assert registration.switched_on(PC) is PC
    assert registration.switched_on(replace(PC, power=nodes.POWER_OFF)).power == nodes.POWER_ON


def test_settings_of_virtual_nodes_are_refused_each_with_its_reason():
    for name, setting in SETTINGS.items():
        faults = physical.setting_faults(PC, {setting.field: None})
        assert bool(faults) == (name not in model.MACHINE_SETTINGS)
        assert all(name in fault and "pc-5254001a2b3c" in fault and "netsetup" in fault for fault in faults)
        assert physical.setting_faults(VIRTUAL, {setting.field: None}) == []


def test_a_set_with_a_physical_node_in_it_is_refused_whole():
    with pytest.raises(InvalidRequest, match="pc-5254001a2b3c: ram is for virtual nodes only"):
        settings_request.new_configs([VIRTUAL, PC], settings_request.parse(["ram=1G"]), {})
    (config,) = settings_request.new_configs([PC], settings_request.parse(["netsetup=NAT"]), {})
    assert config.netsetup == "NAT"


@pytest.mark.parametrize(
    ("check", "word"),
    [
        (lambda named: physical.check_soft(named, True), "--hard"),
        (physical.check_startable, "switch it on"),
        (physical.check_links, "real cable"),
    ],
)
def test_what_only_a_virtual_node_can(check, word):
    check([VIRTUAL])
    with pytest.raises(Conflict, match=f"pc-5254001a2b3c.*{word}"):
        check([VIRTUAL, PC])
    physical.check_soft([PC], hard=False)


@pytest.mark.parametrize(
    ("state", "note"),
    [
        (BOOTED, None),
        (LOADING, "it is booting, and is rebooted after that; then it boots image other"),
        (STOPPED, "once it is switched on, or reset"),
        (FAILED, "once it is switched on, or reset"),
    ],
)
def test_what_does_not_listen_now_is_said(state, note):
    before = replace(PC, status=Status(state, 1.0, ""))
    notes = physical.notes_of_boot([before], [replace(before, image="other")])
    assert notes == [] if note is None else note in notes[0] and "boots image other" in notes[0]
    assert physical.notes_of_boot([replace(VIRTUAL, status=before.status)], [VIRTUAL]) == []


def test_only_what_concerns_it_is_shown():
    shown = model.view(PC)
    assert (shown.type, shown.config) == ("physical", {"netsetup": "LAN"})
    assert len(model.view(VIRTUAL).config) == len(SETTINGS)


def test_its_port_is_real():
    (port,) = port_views.views([PC], {"lab": None})
    assert (port.mac, port.applied, port.state) == (MAC, None, "a real cable; nothing is emulated")
