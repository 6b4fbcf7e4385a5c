"""A node moves from one vmrunner to another: nothing is lost, nothing doubled, whoever is killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from services.kit.bus.bus import BrokerBus
from tests.service.conftest import PASSWORD, SECOND
from tests.service.vmrunner import world
from tests.service.vmrunner.world import HOST
from tests.support.wait import wait_until
from walt.contracts.agent_rights import account_of_host
from walt.contracts.errors import WaltError
from walt.contracts.nodes import Disk

DISK = Disk(31, 100 * 10**6, "none")
OWNED = {"owner": "alice", "owner_account": "a1", "persist_bytes": 64 * 10**6, "disks": (DISK,)}


@pytest.fixture
def second(peers, platform, broker_port, vhost):
    """The vmrunner of a further host, with the account of that host, beside that of `platform`."""
    folder = Path(tempfile.mkdtemp(prefix="walt-vmr-"))
    folder.chmod(0o711)
    uri = f"amqp://{account_of_host(SECOND)}:{PASSWORD}@127.0.0.1:{broker_port}/{vhost}"
    made = world.Platform(peers, folder, {"WALT_HOST": SECOND, "WALT_AMQP_URI": uri})
    try:
        made.wait_until_it_answers()
        yield made
    finally:
        made.process.kill()
        made.server.stop()
        made.user.close()
        print(made.process.log.read_text())
        shutil.rmtree(folder)


@pytest.fixture
def written(platform):
    """What the node has on its disk when it goes; it is off."""
    platform.boot(**OWNED)
    content = os.urandom(60 * 2**20)
    disk = platform.state_folder / "5/disks/31.raw"
    with disk.open("r+b") as file:
        file.seek(20 * 2**20)
        file.write(content)
    platform.put(power="off", boot=2)
    platform.wait_state("stopped", boot=2)
    return disk.read_bytes()


def send(platform, **changes):
    return platform.put(**{"host": SECOND, "moves_from": HOST, "move": 7, "boot": 3, "power": "off", **changes})


def has_come(platform):
    return any(report.host == SECOND and report.arrived == 7 for report in platform.nodes.reports)


def disk_of(platform):
    return platform.state_folder / "5/disks/31.raw"


def test_its_disks_are_at_the_other_host_before_they_leave_the_first(platform, second, written):
    persist = (platform.state_folder / "5/persist/alice~a1.raw").read_bytes()
    send(platform)
    platform.wait(lambda: has_come(platform), "the disks have come")
    assert disk_of(second).read_bytes() == written == disk_of(platform).read_bytes()
    assert (second.state_folder / "5/persist/alice~a1.raw").read_bytes() == persist
    assert [one["disk_id"] for one in second.call("list_data", node_id=5) if one["written"]] == [31]
    assert platform.last().state == "stopped" and "its disks have come from host lab" in platform.last().reason
    platform.put(moves_from="")
    platform.restart()  # it asks at once what it has
    platform.wait(lambda: not (platform.state_folder / "5").exists(), "the first host forgets it")
    assert platform.call("list_trash") == [] and disk_of(second).read_bytes() == written


def test_a_target_that_is_killed_begins_anew_and_the_source_keeps_all(platform, second, written):
    arriving = second.state_folder / "5/arriving"
    send(platform)
    platform.wait(lambda: any(arriving.glob("*")), "the copy has begun")
    second.process.kill()
    assert not has_come(platform) and disk_of(platform).read_bytes() == written
    second.process.start()
    platform.wait(lambda: has_come(platform), "the disks have come")
    assert disk_of(second).read_bytes() == written and not arriving.exists()


def test_a_source_that_is_killed_goes_on_serving_once_it_is_back(platform, second, written):
    send(platform)
    platform.wait(lambda: any((second.state_folder / "5/arriving").glob("*")), "the copy has begun")
    platform.restart()
    platform.wait(lambda: has_come(platform), "the disks have come")
    assert disk_of(second).read_bytes() == written and platform.qemus() == {}


def test_a_node_that_goes_back_is_whole_and_the_copy_is_dropped(platform, second, written):
    send(platform)
    platform.wait(lambda: any((second.state_folder / "5/arriving").glob("*")), "the copy has begun")
    platform.put(host=HOST, moves_from="", boot=4, power="on")
    platform.wait_state("booting", boot=4)
    second.restart()
    platform.wait(lambda: not (second.state_folder / "5").exists(), "nothing is left at the other host")
    assert disk_of(platform).read_bytes() == written and second.qemus() == {}
    assert platform.call("list_trash") == []


def test_a_disk_in_the_trash_that_is_to_be_restored_goes_too(platform, second, written):
    platform.put(disks=())
    platform.wait(lambda: platform.call("list_trash"), "in the trash")
    platform.call("claim_trash", disk="disk-31", node_id=5, account="a1")
    send(platform, disks=(DISK,))
    platform.wait(lambda: has_come(platform), "the disks have come")
    assert disk_of(second).read_bytes() == written


def test_disks_of_a_node_that_stays_are_read_by_nobody(platform, second, written):
    for method, more in (("list_moving", {}), ("read_moving", {"name": "disks/31.raw", "offset": 0})):
        reply = platform.user.reply(f"{world.NAME}.{method}", node_id=5, move=7, user_id=platform.user.name, **more)
        assert "still in use on host lab" in str(reply["error"])


@pytest.mark.parametrize("goal, error", [("lab2", "Denied"), (SECOND, None)])
def test_the_agents_of_a_host_read_what_goes_to_it_alone(platform, written, broker_port, vhost, goal, error):
    send(platform, host=goal)
    uri = f"amqp://{account_of_host(SECOND)}:{PASSWORD}@127.0.0.1:{broker_port}/{vhost}"
    with contextlib.closing(BrokerBus(uri, f"vmrunner@{SECOND}")) as bus:
        wait_until(lambda: answer_of(bus, "list_moving") != "Conflict")  # until it has heard that the node leaves
        assert answer_of(bus, "list_moving") == error
        assert answer_of(bus, "read_moving", name="disks/31.raw", offset=0) == error


def answer_of(bus, method, **arguments):
    """The kind of error, None without one."""
    try:
        bus.call(world.NAME, method, node_id=5, move=7, **arguments)
    except WaltError as fault:
        return type(fault).__name__
    return None
