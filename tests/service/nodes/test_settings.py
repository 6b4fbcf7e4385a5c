"""Settings of nodes are changed: all or nothing, and no disk with data goes unasked."""

from __future__ import annotations

from services.nodes.peers import data_in_use
from tests.service.nodes.world import HOST
from tests.support.amqp_user import AmqpUser


def test_configuration_notes_and_repetition(platform):
    platform.call("alice", "create_nodes", ["vnode1"])
    answer = platform.call("alice", "configure_nodes", "vnode1", ["ram=1G", "boot.retries=3"])
    assert answer["notes"] == ["vnode1: ram takes effect at the next boot (walt node reboot vnode1)"]
    version = platform.spec("vnode1").version
    again = platform.call("alice", "configure_nodes", "vnode1", ["ram=1G", "boot.retries=3"])
    assert again["notes"] == [] and platform.spec("vnode1").version == version
    link = ["networks=walt-net,home-net[lat=10ms]"]
    assert platform.call("alice", "configure_nodes", "vnode1", link)["notes"] == []  # an interface comes live
    live = ["networks=walt-net,home-net[lat=20ms,bw=100Mbps]"]
    assert platform.call("alice", "configure_nodes", "vnode1", live)["notes"] == []
    assert platform.spec("vnode1").interfaces[1].link.up.latency_us == 20_000
    assert platform.view("vnode1")["config"]["networks"] == live[0].removeprefix("networks=")
    moved = ["networks=walt-net,lab,home-net"]
    assert "networks takes effect" in platform.call("alice", "configure_nodes", "vnode1", moved)["notes"][0]


def test_settings_are_checked_for_all_nodes_before_any_is_stored(platform):
    platform.call("alice", "create_nodes", ["slow"], settings=["boot.delay=200", "boot.timeout=300"])
    platform.call("alice", "create_nodes", ["quick"])
    refused = platform.refusal("alice", "configure_nodes", "quick,slow", ["boot.timeout=100"])
    assert refused.startswith("InvalidRequest: slow: boot.timeout=100 does not exceed boot.delay=200")
    assert platform.view("quick")["config"]["boot.timeout"] == "180"


def test_fault_12_configuration_is_all_or_nothing(platform):
    platform.call("alice", "create_nodes", ["a", "b"])
    platform.call("alice", "configure_nodes", "b", ["boot.timeout=200", "boot.delay=190"])
    before = [platform.spec(name) for name in ("a", "b")]
    refused = platform.refusal("alice", "configure_nodes", "a,b", ["ram=99999G", "cpu.cores=0", "boot.delay=250"])
    assert refused.startswith("InvalidRequest") and len(refused.splitlines()) == 4
    assert all(word in refused for word in ("'0' is not a value for cpu.cores", "a: boot.timeout", "b: boot.timeout"))
    assert f"ram=99999G is more than host {HOST} could ever hold; allowed: at most 16G" in refused
    assert [platform.spec(name) for name in ("a", "b")] == before
    platform.call("alice", "remove_nodes", "a")
    platform.call("alice", "configure_nodes", "b", ["boot.timeout=300"])  # not lost after a removal
    assert platform.spec("b").boot_timeout_s == 300


def test_bad_setting_is_reported_before_an_unknown_node(platform):
    assert platform.refusal("alice", "configure_nodes", "nobody", ["rma=1G"]).startswith("InvalidRequest: 'rma'")
    assert platform.refusal("alice", "configure_nodes", "nobody", ["ram=1G"]) == "NotFound: no node 'nobody'"


def test_faults_of_the_node_set_and_of_the_values_are_reported_together(platform):
    refused = platform.refusal("alice", "configure_nodes", "nobody,none", ["rma=1G", "ram=0M"]).splitlines()
    assert refused[0].startswith("InvalidRequest: 'rma'") and refused[1].startswith("'0M' is not a value for ram")
    assert refused[2:] == ["no node 'nobody'", "no node 'none'"]
    refused = platform.refusal("alice", "link_nodes", "nobody", "lab", ["zz=3", "lat"]).splitlines()
    assert refused[0].startswith("InvalidRequest: 'zz=3'") and refused[1].startswith("'lat'")
    assert refused[2:] == ["no node 'nobody'"]


def disks(platform, name):
    return [(disk.id, disk.size_bytes, disk.template) for disk in platform.spec(name).disks]


def test_disks_keep_their_identity(platform):
    platform.call("alice", "create_nodes", ["vnode1"], settings=["disks=256M,1T"])
    first, second = disks(platform, "vnode1")
    assert (first[1:], second[1:]) == ((256 * 10**6, "none"), (10**12, "none"))
    answer = platform.call("alice", "configure_nodes", "vnode1", ["disks=32G[template=ext4],256M,2T"])
    assert answer["notes"] == ["vnode1: disks takes effect at the next boot (walt node reboot vnode1)"]
    new, *kept = disks(platform, "vnode1")
    assert kept == [first, (second[0], 2 * 10**12, "none")] and new[0] not in (first[0], second[0])
    assert platform.view("vnode1")["config"]["disks"] == "32G[template=ext4],256M,2T"
    assert platform.vmrunner.inspected == []  # nothing went


def test_fault_10_disk_with_data_is_not_dropped_silently(platform):
    platform.call("alice", "create_nodes", ["vnode1", "vnode2", "vnode3"], settings=["disks=1G,32G[template=ext4]"])
    platform.call("alice", "configure_nodes", "vnode3", ["disks=none"])
    before = {name: platform.spec(name) for name in ("vnode1", "vnode2", "vnode3")}
    platform.vmrunner.inspected.clear()
    platform.vmrunner.written[before["vnode2"].disks[1].id] = 1_200_000_000
    for command, args in (
        ("configure_nodes", [["disks=1G,31G[template=ext4]"]]),
        ("release_nodes", []),
        ("remove_nodes", []),
    ):
        assert platform.refusal("alice", command, "vnode1,vnode2,vnode3", *args) == (
            "NeedsForce: node 'vnode2': vdb (32G[template=ext4]) holds data (1.2 GB); --force destroys it"
        )
        assert set(platform.vmrunner.inspected) == {"vnode1", "vnode2"}
        assert {name: platform.spec(name) for name in before} == before
    platform.call("alice", "configure_nodes", "vnode2", ["disks=32G[template=ext4]"])  # only the empty one goes
    assert platform.spec("vnode2").disks == (before["vnode2"].disks[1],)
    platform.vmrunner.inspected.clear()
    platform.call("alice", "configure_nodes", "vnode2", ["disks=none"], force=True)
    assert platform.spec("vnode2").disks == () and platform.vmrunner.inspected == []
    assert platform.call("alice", "get_events", "vnode2")[-1]["text"] == "disks=none --force"


def test_data_that_cannot_be_inspected_is_not_destroyed(platform, monkeypatch):
    platform.call("alice", "create_nodes", ["vnode1", "plain"])
    platform.call("alice", "configure_nodes", "vnode1", ["disks=1G"])
    platform.stop(platform.vmrunner)
    monkeypatch.setattr(data_in_use, "ANSWER_S", 1.0)
    refused = platform.refusal("alice", "configure_nodes", "vnode1", ["disks=none"])
    assert refused.startswith("NeedsForce: node 'vnode1': it is not known whether vda (1G) holds data (vmrunner@")
    assert refused.endswith("--force continues, and destroys it")
    platform.call("alice", "release_nodes", "plain")
    platform.call("alice", "remove_nodes", "vnode1", force=True)
    assert "no node" in platform.refusal("alice", "get_nodes", "vnode1")


def test_fault_09_remove_asks_for_persist_too(platform):
    platform.call("alice", "create_nodes", ["vnode1"])
    platform.vmrunner.persisted[platform.spec("vnode1").id, "alice"] = 12_000_000
    platform.bootserver.persisted[platform.spec("vnode1").id, "alice"] = 345_678  # of a version before
    refused = platform.refusal("alice", "remove_nodes", "vnode1")
    assert refused == "NeedsForce: node 'vnode1': /persist holds data of alice (12.3 MB); --force destroys it"
    platform.call("alice", "release_nodes", "vnode1")  # it stays, for its owner
    platform.call("bob", "acquire_nodes", "vnode1")
    platform.bootserver.persisted[platform.spec("vnode1").id, "bob"] = 1_000
    of_bob = "node 'vnode1': /persist holds data of bob (1 kB); --force destroys it"
    assert platform.refusal("bob", "remove_nodes", "vnode1").splitlines() == [refused, of_bob]
    platform.call("bob", "remove_nodes", "vnode1", force=True)


def test_disk_made_during_the_inspection_is_inspected_too(platform, monkeypatch):
    platform.call("alice", "create_nodes", ["vnode1"], settings=["disks=1G"])
    inspect, other = platform.app.inspector.check_empty, AmqpUser(platform.user_uri("alice"))

    def inspect_and_interfere(volumes):
        inspect(volumes)
        if len(platform.vmrunner.inspected) == 1:
            other.call("nodes.configure_nodes", "vnode1", ["disks=1G,2G"])
            platform.vmrunner.written[platform.spec("vnode1").disks[1].id] = 5_000

    monkeypatch.setattr(platform.app.inspector, "check_empty", inspect_and_interfere)
    refused = platform.refusal("alice", "remove_nodes", "vnode1")
    other.close()
    assert refused == "NeedsForce: node 'vnode1': vdb (2G) holds data (5 kB); --force destroys it"


def test_fault_11_next_owner_gets_other_disks(platform):
    platform.call("alice", "create_nodes", ["vnode1"], settings=["disks=1G,2G[template=ext4]"])
    owned = [disks(platform, "vnode1")]
    platform.vmrunner.written[owned[0][0][0]] = 1
    answer = platform.call("bob", "acquire_nodes", "vnode1", force=True)
    assert answer["notes"] == ["vnode1: its disks were emptied"]
    owned.append(disks(platform, "vnode1"))
    assert platform.call("bob", "release_nodes", "vnode1")["notes"] == ["vnode1: its disks were emptied"]
    owned.append(disks(platform, "vnode1"))
    assert platform.call("alice", "acquire_nodes", "vnode1")["notes"] == []
    owned.append(disks(platform, "vnode1"))
    assert len({one[0] for generation in owned for one in generation}) == 8
    assert len({tuple(one[1:] for one in generation) for generation in owned}) == 1
