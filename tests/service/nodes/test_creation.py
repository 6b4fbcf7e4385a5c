"""Nodes are created: names, settings, images, addresses, the capacity of their host."""

from __future__ import annotations

from types import SimpleNamespace

import eventlet
import pytest

from services.nodes.peers import capacities, images
from services.nodes.peers.capacities import HostCapacities
from tests.service.nodes.world import HOST
from tests.support.amqp_user import AmqpUser
from tests.support.wait import wait_until
from walt.contracts.errors import WaltError
from walt.contracts.vmrunner import DELAYING


def test_create_answers_with_the_nodes_and_announces_them(platform):
    answer = platform.call("alice", "create_nodes", ["vnode1", "vnode2"], settings=["ram=1G"])
    first, second = answer["nodes"]
    assert (first["name"], first["owner"], first["state"], first["type"]) == ("vnode1", "alice", DELAYING, "virtual")
    assert (first["ip"], second["ip"]) == ("10.77.0.2", "10.77.0.3")
    assert first["mac"].startswith("52:54:00:") and first["mac"] != second["mac"]
    assert first["config"] == {
        "boot.delay": "random",
        "boot.retries": "9",
        "boot.timeout": "180",
        "cpu.cores": "4",
        "disks": "none",
        "netsetup": "LAN",
        "networks": "walt-net",
        "persist": "1G",
        "ram": "1G",
    }
    wait_until(lambda: set(platform.announced()) == {"vnode1", "vnode2"})
    assert [(spec.boot, spec.version, spec.ram_bytes) for spec in platform.vmrunner.specs] == [(1, 1, 2**30)] * 2


def test_every_fault_of_a_creation_is_told_at_once_and_nothing_is_stored(platform):
    refused = platform.refusal("alice", "create_nodes", ["ok", "1bad", "my-nodes"], settings=["ram=1", "speed=2"])
    assert refused.startswith("InvalidRequest") and all(
        word in refused for word in ("1bad", "my-nodes", "'1'", "speed")
    )
    assert platform.call("alice", "get_nodes", "all-nodes") == []


def test_faults_of_names_settings_image_and_registry_are_told_together(platform):
    platform.call("alice", "create_nodes", ["taken"])
    refused = platform.refusal("bob", "create_nodes", ["taken", "1bad"], settings=["speed=2"], image="nix").splitlines()
    assert [one.partition(";")[0] for one in refused] == [
        "InvalidRequest: '1bad' is not a node name",
        "'speed' is not a setting",
        "there is no image 'nix'",
        "the name 'taken' is taken by a node of alice",
    ]
    refused = platform.refusal("bob", "create_nodes", ["taken"], image="nix").splitlines()
    assert refused == ["NotFound: there is no image 'nix'", "the name 'taken' is taken by a node of alice"]
    refused = platform.refusal("bob", "boot_nodes", "taken", "nix").splitlines()
    assert refused == ["NotFound: there is no image 'nix'", "node 'taken' belongs to alice"]


def test_taken_name_is_a_conflict_that_says_by_whom(platform):
    platform.call("alice", "create_nodes", ["vnode1"])
    refused = platform.refusal("bob", "create_nodes", ["other", "VNODE1"])
    assert refused == "Conflict: the name 'vnode1' is taken by a node of alice"
    assert [node["name"] for node in platform.call("bob", "get_nodes", "all-nodes")] == ["vnode1"]


def test_image_is_checked(platform, monkeypatch):
    assert "NotFound: there is no image 'nix'" in platform.refusal("alice", "create_nodes", ["a"], image="nix")
    assert platform.call("alice", "create_nodes", ["a"], image="debian")["nodes"][0]["image"] == "debian"
    platform.stop(platform.bootserver)
    monkeypatch.setattr(images, "ANSWER_S", 1.0)
    assert platform.call("alice", "create_nodes", ["b"])["nodes"][0]["image"] == "default"
    assert platform.refusal("alice", "create_nodes", ["c"], image="debian").startswith("Unreachable")


def test_image_is_stored_by_its_full_name(platform):
    platform.call("alice", "create_nodes", ["a", "b"], image="mine")
    assert platform.view("a")["image"] == "alice/mine"
    assert platform.call("alice", "boot_nodes", "a", "default")["nodes"][0]["image"] == "default"
    assert platform.call("alice", "boot_nodes", "a", "mine")["nodes"][0]["image"] == "alice/mine"
    platform.call("bob", "acquire_nodes", "a", force=True)
    assert platform.spec("a").image == "default"  # the image of a former owner is his
    assert platform.call("bob", "boot_nodes", "a", "mine")["nodes"][0]["image"] == "bob/mine"


def test_addresses_run_out_without_a_half_done_command(platform):
    names = [f"n{number}" for number in range(10)]  # 16 addresses: the net's, the server's, 4 for machines
    platform.call("alice", "create_nodes", names[:9])
    assert "10.77.0.0/28" in platform.refusal("alice", "create_nodes", ["x", "y"])
    assert len(platform.call("alice", "create_nodes", names[9:])["nodes"]) == 1


def test_two_creations_of_one_name_at_the_same_time_give_one_conflict(platform):
    def attempt(name):
        user = AmqpUser(platform.user_uri(name))
        try:
            return user.call("nodes.create_nodes", ["same"])["nodes"][0]["owner"]
        except WaltError as error:
            return type(error).__name__
        finally:
            user.close()

    threads = [eventlet.spawn(attempt, user) for user in ("alice", "bob") * 3]
    answers = [thread.wait() for thread in threads]
    assert sorted(answers)[:5] == ["Conflict"] * 5
    assert len(platform.call("alice", "get_nodes", "all-nodes")) == 1


def test_fault_13_values_are_checked_against_the_host(platform):
    settings = ["ram=9999G", "disks=0G", "cpu.cores=0"]
    refused = platform.refusal("alice", "create_nodes", ["ok", "1bad"], settings=settings)
    assert refused.startswith("InvalidRequest") and len(refused.splitlines()) == 4
    assert f"ram=9999G is more than host {HOST} could ever hold; allowed: at most 16G" in refused
    assert platform.call("alice", "get_nodes", "all-nodes") == []
    assert platform.call("alice", "create_nodes", ["ok"], settings=["ram=16G", "cpu.cores=8"])["notes"] == []
    many = "cpu.cores=9 is more than host testhost has (8); the cores of the node share these"
    answer = platform.call("alice", "create_nodes", ["a", "b"], settings=["cpu.cores=9"])
    assert answer["notes"] == [f"a, b: {many}"]
    assert f"ok: {many}" in platform.call("alice", "configure_nodes", "ok,a", ["cpu.cores=9"])["notes"]


def test_fault_14_delay_is_compared_with_timeout(platform):
    refused = platform.refusal("alice", "create_nodes", ["a"], settings=["boot.delay=100", "boot.timeout=100"])
    assert "boot.timeout=100 does not exceed boot.delay=100" in refused


def test_capacity_is_remembered_while_the_host_is_away(platform, monkeypatch):
    platform.call("alice", "create_nodes", ["a"])
    platform.stop(platform.vmrunner)
    assert "at most 16G" in platform.refusal("alice", "create_nodes", ["b"], settings=["ram=17G"])
    monkeypatch.setattr(capacities, "FIRST_ANSWER_S", 0.5)
    forgotten = HostCapacities(platform.app.bus)
    monkeypatch.setattr(platform.app, "capacities", forgotten)
    monkeypatch.setattr(platform.app.hosts, "_capacities", forgotten)
    platform.call("alice", "create_nodes", ["b"], settings=["ram=17G"])  # never reported: vmrunner checks it at boot
    platform.start(platform.vmrunner)
    monkeypatch.setattr(capacities, "RETRY_S", 0.0)
    assert "at most 16G" in platform.refusal("alice", "create_nodes", ["c"], settings=["ram=17G"])


def test_a_host_that_is_away_delays_no_creation(platform, monkeypatch):
    platform.stop(platform.vmrunner)
    platform.app.capacities.of([HOST])
    calls = []
    monkeypatch.setattr(platform.app.capacities, "_bus", SimpleNamespace(call=lambda *args, **_: calls.append(args)))
    platform.call("alice", "create_nodes", ["a", "b"], settings=["ram=1G"])
    assert calls == []


@pytest.mark.parametrize("name", ["my-nodes", "server", "default", "x" * 64, "a_b", "1a"])
def test_fault_32_reserved_and_odd_names_are_refused(platform, name):
    assert platform.refusal("alice", "create_nodes", [name]).startswith("InvalidRequest")
    platform.call("alice", "create_nodes", ["ok"])
    assert platform.refusal("alice", "rename_node", "ok", name).startswith("InvalidRequest")


def test_fault_38_taken_name_says_by_whom(platform):
    platform.call("alice", "create_nodes", ["vnode1"])
    refused = platform.refusal("bob", "create_nodes", ["vnode1"])
    assert refused == "Conflict: the name 'vnode1' is taken by a node of alice"
    platform.call("alice", "release_nodes", "vnode1")
    assert platform.refusal("bob", "create_nodes", ["vnode1"]).endswith("is taken by a free node")


def test_network_number_is_not_used_again(platform):
    platform.call("alice", "create_nodes", ["a1"], settings=["networks=walt-net,one"])
    first = platform.spec("a1").interfaces[1].network.id
    platform.call("alice", "configure_nodes", "a1", ["networks=walt-net"])
    platform.call("alice", "configure_nodes", "a1", ["networks=walt-net,two"])
    assert platform.spec("a1").interfaces[1].network.id > first
