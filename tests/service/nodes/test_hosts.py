"""Hosts: they are there by what their agents announce, take nodes, fall silent, are drained and removed."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from services.nodes.commands import host_directory
from tests.service.nodes.people import do
from tests.support.fakes.fake_service import serving
from tests.support.fakes.vmrunner import FakeVmrunner
from tests.support.wait import wait_until
from walt.contracts import serialization, walt_net_addresses
from walt.contracts.errors import Conflict, NotFound, Refused
from walt.contracts.hosts import AGENT_PRESENT, AgentPresent, Fabric
from walt.contracts.nodes import Specs
from walt.contracts.vmrunner import VM_CHANGED, Capacity, TrashedDisk, VmReport

SERVER, SECOND = "rightshost", "lab2"
CAPACITY = Capacity(4, 8 * 2**30, 1.5)


@pytest.fixture
def second(service, amqp_uri):
    """The vmrunner of a second host, which has announced itself."""
    fake = FakeVmrunner(SECOND)
    with serving(amqp_uri, fake):
        announce(service, SECOND)
        service.vmrunner.announce(AGENT_PRESENT, AgentPresent(SECOND, "netemu", underlay="192.0.2.2"), by="netemu")
        wait_until(lambda: [one for one in addresses(service).hosts if one.underlay])
        yield fake
    with service.app.transaction() as registry:
        for node in registry.nodes():
            registry.delete(node.id)
    service.app.hosts._seen_at.clear()
    service.app.hosts.remove(SECOND, is_out=True)


@pytest.fixture
def bea(admin, login):
    return login("bea", do(admin, "add_user", name="bea")["password"])


def announce(service, host):
    said = AgentPresent(host, "vmrunner", "1.0", capacity=CAPACITY)
    service.vmrunner.announce(AGENT_PRESENT, said)
    wait_until(lambda: host in service.app.hosts.known and service.app.hosts.known[host].version)


def addresses(service):
    return serialization.load(Fabric, service.bus.call("nodes", "get_fabric", host=SERVER)).addresses


def hosts_of(changed):
    return {node["name"]: node["host"] for node in changed["nodes"]}


def test_a_host_is_there_once_it_has_announced_itself(service, admin, second):
    server, other = do(admin, "get_hosts")
    assert (server["name"], server["is_server"], other["is_server"]) == (SERVER, True, False)
    assert (other["name"], other["state"], other["underlay"], other["version"]) == (
        SECOND,
        "present",
        "192.0.2.2",
        "1.0",
    )
    assert other["capacity"]["ram_bytes"] == CAPACITY.ram_bytes
    with pytest.raises(NotFound, match="no host 'lab3' .did you mean lab2"):
        do(admin, "get_hosts", name="lab3")


def test_it_gets_an_address_of_its_own_on_walt_net(service, admin, bea, second):
    server, other = addresses(service).hosts
    assert addresses(service).server == SERVER and server.mac == walt_net_addresses.SERVER_MAC
    assert other.ip != server.ip and other.mac != server.mac
    last = list(walt_net_addresses.of_virtual_nodes("192.168.172.0/22"))[-1]
    assert other.ip == str(last)


def test_nodes_go_where_there_is_room_or_where_they_are_told_to(service, admin, bea, second):
    changed = do(bea, "create_nodes", names=["one"], host=SECOND)
    assert hosts_of(changed) == {"one": SECOND}
    assert hosts_of(do(bea, "create_nodes", names=["two", "three"])) == {"two": SERVER, "three": SERVER}
    on_network = do(bea, "create_nodes", names=["four"], settings=["networks=walt-net,home-net"], host=SECOND)
    assert hosts_of(on_network) == {"four": SECOND}
    assert hosts_of(do(bea, "create_nodes", names=["five"], settings=["networks=walt-net,home-net"])) == {
        "five": SECOND
    }
    wait_until(lambda: {spec.name for spec in second.specs} >= {"one", "two", "four"})
    assert {one["name"]: one["nodes"] for one in do(admin, "get_hosts")} == {SERVER: 2, SECOND: 3}


def test_a_wrong_host_is_refused_and_nothing_is_created(service, bea, second):
    with pytest.raises(NotFound, match="no host 'lab3'"):
        do(bea, "create_nodes", names=["one"], host="lab3")
    assert do(bea, "get_nodes", selection="all-nodes") == []


def test_a_lab_says_where_its_nodes_go(service, bea, second):
    node = {"name": "one", "host": SECOND}
    planned = do(bea, "apply_lab", document={"name": "lab", "nodes": [node]}, dry_run=True)
    assert [one["host"] for one in planned["actions"]] == [SECOND]
    do(bea, "apply_lab", document={"name": "lab", "nodes": [node]})
    moved = do(bea, "apply_lab", document={"name": "lab", "nodes": [{**node, "host": SERVER}]})
    assert [(one["path"][-2:], one["sentence"]) for one in moved["faults"]] == [
        (
            ["host", SERVER],
            f"node 'one' is on host {SECOND}; allowed: {SECOND}, or move it first (walt node config one host={SERVER})",
        )
    ]
    unknown = do(bea, "apply_lab", document={"name": "lab", "nodes": [{"name": "two", "host": "lab3"}]})
    assert "no host 'lab3'" in unknown["faults"][0]["sentence"] and unknown["faults"][0]["error"] == "NotFound"


def test_no_new_node_goes_to_a_drained_host(service, admin, bea, second):
    do(bea, "create_nodes", names=["one"], host=SECOND)
    assert do(admin, "drain_host", name=SECOND)[0]["is_drained"]
    assert do(admin, "drain_host", name=SECOND)[0]["is_drained"]
    with pytest.raises(Conflict, match="two cannot go to lab2"):
        do(bea, "create_nodes", names=["two"], host=SECOND)
    assert set(hosts_of(do(bea, "create_nodes", names=["a", "b", "c"])).values()) == {SERVER}
    service.stop()
    service.start()
    assert [one["is_drained"] for one in do(admin, "get_hosts")] == [False, True], "also after a restart"
    assert not do(admin, "drain_host", name=SECOND, undo=True)[0]["is_drained"]
    assert do(bea, "get_nodes", selection="one")[0]["host"] == SECOND


def test_nodes_of_a_silent_host_are_unreachable_until_it_is_back(service, admin, bea, second, monkeypatch):
    do(bea, "create_nodes", names=["one"], host=SECOND)
    do(bea, "create_nodes", names=["two"], host=SERVER)
    monkeypatch.setattr(host_directory, "UNREACHABLE_AFTER_S", 0.5)
    wait_until(lambda: do(bea, "get_nodes", selection="one")[0]["state"] == "unreachable")
    (view,) = do(bea, "get_nodes", selection="one")
    assert (view["cause"], view["reason"]) == ("host-unreachable", "host lab2 does not answer; it was delaying before")
    assert do(bea, "get_nodes", selection="two")[0]["state"] == "delaying"
    assert [one["state"] for one in do(admin, "get_hosts")][1] == "unreachable"
    monkeypatch.setattr(host_directory, "UNREACHABLE_AFTER_S", 60.0)
    announce(service, SECOND)
    assert do(bea, "get_nodes", selection="one")[0]["state"] == "delaying"


def test_a_host_is_removed_once_it_has_no_nodes_and_no_agents(service, admin, bea, second):
    do(bea, "create_nodes", names=["one"], host=SECOND)
    for host, why in ((SERVER, "the server's own host"), (SECOND, "has 1 nodes .one.")):
        with pytest.raises(Conflict, match=why):
            do(admin, "remove_host", name=host)
    with service.app.transaction() as registry:
        registry.delete(registry.named("one").id)
    with pytest.raises(Conflict, match="run, and it would be back at once"):
        do(admin, "remove_host", name=SECOND)
    service.app.hosts._seen_at.clear()
    do(admin, "remove_host", name=SECOND)
    assert [one["name"] for one in do(admin, "get_hosts")] == [SERVER]
    announce(service, SECOND)
    assert len(do(admin, "get_hosts")) == 2, "it is back when it announces itself again"


def test_each_host_is_told_what_is_on_the_others(service, bea, second):
    do(bea, "create_nodes", names=["one"], settings=["networks=walt-net,home-net", "netsetup=NAT"], host=SECOND)
    do(bea, "create_nodes", names=["two"], host=SERVER)
    fabric = serialization.load(Fabric, service.bus.call("nodes", "get_fabric", host=SERVER))
    (station,) = fabric.stations
    assert (station.host, station.has_nat, [port.network_id for port in station.ports][0]) == (SECOND, True, 0)
    (spec,) = [one for one in service.bus.call("nodes", "get_specs", host=SECOND)["nodes"]]
    assert [port.mac for port in station.ports] == [one["mac"] for one in spec["interfaces"]]
    assert len(serialization.load(Fabric, service.bus.call("nodes", "get_fabric", host=SECOND)).stations) == 1


def test_trash_is_that_of_all_hosts_and_stays_on_its_host(service, admin, bea, second):
    do(bea, "create_nodes", names=["one"], host=SECOND)
    do(bea, "create_nodes", names=["two"], host=SERVER)
    disk = TrashedDisk("disk-9", "old", "bea", "b1", 9, "none", 2 * 10**9, 4096, 1e9, 3600.0)
    second.trash[disk.id] = disk
    assert [one["id"] for one in do(admin, "get_trash")] == ["disk-9"]
    with pytest.raises(Conflict, match="two is on host rightshost, 'disk-9' on lab2"):
        do(admin, "restore_trash", disk="disk-9", node="two")
    do(admin, "restore_trash", disk="disk-9", node="one")
    assert second.trash["disk-9"].for_node and not service.vmrunner.trash
    do(admin, "empty_trash", disks=["disk-9"])
    assert not second.trash


def test_reports_of_all_hosts_are_asked_for(service, bea, second):
    do(bea, "create_nodes", names=["one"], host=SECOND)
    wait_until(lambda: [spec for spec in second.specs if spec.name == "one"])
    before = len(second.specs)
    service.app.reconcile()  # the fake reports no VM: its spec is announced again
    wait_until(lambda: len(second.specs) > before)


def test_doctor_speaks_of_every_host(service, admin, second, monkeypatch):
    found = [one["subject"] for one in do(admin, "diagnose")]
    assert "lab2: KVM" in found and "rightshost: KVM" in found
    monkeypatch.setattr(host_directory, "UNREACHABLE_AFTER_S", 0.5)
    wait_until(lambda: "host lab2" in [one["subject"] for one in do(admin, "diagnose")])
    (silent,) = [one for one in do(admin, "diagnose") if one["subject"] == "host lab2"]
    assert silent["status"] == "fail" and "lab2: KVM" not in [one["subject"] for one in do(admin, "diagnose")]


def stopped_report(service, name, host, arrived=0, sequence=1):
    with service.app.transaction() as registry:
        node = registry.named(name)
    now = int(time.time() * 1e9) + sequence
    service.vmrunner.announce(
        VM_CHANGED, VmReport(node.id, name, host, node.boot, 1, now, "stopped", 5.0, "off", arrived=arrived)
    )


def specs_of(service, host):
    return serialization.load(Specs, service.bus.call("nodes", "get_specs", host=host)).nodes


def test_a_node_moves_once_it_is_off_and_both_hosts_are_told_until_it_has_come(service, admin, bea, second):
    do(bea, "create_nodes", names=["one"], host=SERVER)
    said = do(bea, "configure_nodes", selection="one", settings=[f"host={SECOND}", "ram=1G"])
    assert any(f"one: it moves from host {SERVER} to {SECOND} at the next boot" in note for note in said["notes"])
    assert said["nodes"][0]["moves_to"] == SECOND and said["nodes"][0]["config"]["ram"] == "1G"
    do(bea, "stop_nodes", selection="one")
    (spec,) = specs_of(service, SERVER)
    assert (spec.host, spec.power) == (SERVER, "off")
    stopped_report(service, "one", SERVER)
    wait_until(lambda: do(bea, "get_nodes", selection="one")[0]["host"] == SECOND)
    (spec,) = specs_of(service, SECOND)
    assert specs_of(service, SERVER) == (spec,) and spec.moves_from == SERVER
    assert [(one["name"], one["leaving"]) for one in do(admin, "get_hosts")] == [(SERVER, 1), (SECOND, 0)]
    stopped_report(service, "one", SECOND, arrived=spec.move, sequence=2)
    wait_until(lambda: not specs_of(service, SERVER))
    assert specs_of(service, SECOND)[0].moves_from == ""
    wait_until(lambda: any(one.host == SECOND and not one.moves_from for one in second.specs), 10)


def test_a_host_where_a_node_is_to_go_is_not_removed(service, admin, bea, second):
    do(bea, "create_nodes", names=["one"], host=SERVER)
    do(bea, "configure_nodes", selection="one", settings=[f"host={SECOND}"])
    with pytest.raises(Conflict, match=r"has 1 nodes \(one\), or is to get them"):
        do(admin, "remove_host", name=SECOND)


def test_disks_that_are_on_their_way_are_changed_by_no_command_of_their_owner(service, bea, second):
    node = {"name": "one", "settings": ["disks=1G"]}
    do(bea, "apply_lab", document={"name": "lab", "nodes": [node]})
    with service.app.transaction() as registry:
        one = registry.named("one")
        registry.save(replace(one, host=SECOND, moves_from=SERVER, move=1, version=one.version + 1))
    changed = {**node, "settings": ["disks=1G,2G"]}
    with pytest.raises(Conflict, match="one: its disks are moving"):
        do(bea, "apply_lab", document={"name": "lab", "nodes": [changed]})
    with pytest.raises(Conflict, match="one: its disks are moving"):
        do(bea, "configure_nodes", selection="one", settings=changed["settings"])
    assert do(bea, "apply_lab", document={"name": "lab", "nodes": [node]})["actions"] == []


def test_what_cannot_move_is_refused_with_its_reason(service, admin, bea, second):
    do(bea, "create_nodes", names=["one"], host=SERVER)
    for settings, fault in (
        (["host=lab3"], "no host 'lab3'"),
        (["host="], "host= names no host"),
        (["host=lab2", "host=lab2"], "host is given twice"),
    ):
        with pytest.raises(Refused, match=fault):
            do(bea, "configure_nodes", selection="one", settings=settings)
    with pytest.raises(Refused, match=r"host=lab2 is no setting of a new node; allowed: --host lab2"):
        do(bea, "create_nodes", names=["two"], settings=["host=lab2"])
    with pytest.raises(NotFound, match="no host 'lab3'"):
        do(admin, "evacuate_host", name="lab3")


def test_a_host_is_emptied_and_what_goes_where_is_said_before(service, admin, bea, second):
    do(bea, "create_nodes", names=["one"], host=SECOND)
    do(bea, "create_nodes", names=["two"], settings=["ram=6G"], host=SECOND)
    plan = do(admin, "evacuate_host", name=SECOND, dry_run=True)
    assert plan == {"moves": [{"node": name, "host": SERVER} for name in ("two", "one")], "stuck": []}
    assert not do(admin, "get_hosts", name=SECOND)[0]["is_drained"]
    assert do(admin, "evacuate_host", name=SECOND) == plan
    assert do(admin, "get_hosts", name=SECOND)[0]["is_drained"]
    assert {spec.power for spec in specs_of(service, SECOND)} == {"off"}
    (event,) = [one for one in do(bea, "get_events", selection="one") if one["kind"] == "move"]
    assert (event["text"], event["user"]) == (f"from host {SECOND}", "ada")
    for name in ("one", "two"):
        stopped_report(service, name, SECOND)
    wait_until(lambda: {one["host"] for one in do(bea, "get_nodes", selection="my-nodes")} == {SERVER})
    assert {one["state"] for one in do(bea, "get_nodes", selection="my-nodes")} == {"delaying"}
    with pytest.raises(Conflict, match="has 2 nodes"):
        do(admin, "remove_host", name=SECOND)
