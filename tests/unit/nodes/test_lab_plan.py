"""What a lab asks of the registry, decided without one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.nodes.domain import creation, lab_plan
from services.nodes.domain.lab_plan import LABS_OF_ONE, MAX_IMAGES
from services.nodes.domain.model import Status
from tests.unit.nodes.sample import ALICE, NODE, POOL
from walt.contracts import network_uses
from walt.contracts.errors import Conflict, InvalidRequest
from walt.contracts.labs import CHANGE, CREATE, REMOVE, LabDocument, LabNode
from walt.contracts.vmrunner import BOOTED, STOPPED, Capacity

RUNS = replace(NODE, name="a", lab="demo", status=Status(BOOTED, 0.0, "", 2, 5))


def planned(nodes, present=(), lab="demo"):
    document = LabDocument(lab, tuple(nodes))
    images = {image: (image, ()) for image in lab_plan.images_of(document)}
    request = lab_plan.parse(document, {"h": Capacity(4, 2**32, 1.0)}, images)

    def new_node(wanted, host):
        return creation.new_node(wanted.name, wanted.image, wanted.config, "10.0.0.9", host, ALICE, lab)

    return lab_plan.plan(request, present, POOL.hosts, new_node, ALICE)


def actions(plan):
    assert plan.faults == ()
    return [(one.kind, one.node, one.reboots, one.starts, one.joins) for one in plan.actions]


def test_node_as_wanted_is_the_same_node():
    plan = planned([LabNode("a")], [RUNS])
    assert (actions(plan), plan.kept, plan.before) == ([], (RUNS,), ())


@pytest.mark.parametrize(
    ("wanted", "reboots"),
    [
        (LabNode("a", settings=("ram=1G",)), True),
        (LabNode("a", "debian"), True),
        (LabNode("a", settings=("networks=walt-net,x",)), False),
        (LabNode("a", settings=("networks=x,walt-net",)), True),  # ens2 becomes ens3
        (LabNode("a", settings=("networks=walt-net[lat=1ms]",)), False),
        (LabNode("a", settings=("boot.timeout=600",)), False),
        (LabNode("a", settings=("netsetup=NAT",)), False),
    ],
)
def test_reboots_who_has_to(wanted, reboots):
    plan = planned([wanted], [RUNS])
    assert actions(plan) == [(CHANGE, "a", reboots, False, False)]
    assert plan.after[0].boot == RUNS.boot + reboots and plan.after[0].version > RUNS.version


def test_an_address_reaches_a_running_node():
    home_net = replace(RUNS.config, networks=network_uses.parse_networks("walt-net,demo/home-net"))
    wanted = LabNode("a", settings=("networks=walt-net,home-net[addr=10.1.2.7/24]",))
    assert actions(planned([wanted], [replace(RUNS, config=home_net)])) == [(CHANGE, "a", False, False, False)]


@pytest.mark.parametrize("off", [{"power": "off"}, {"status": Status(STOPPED, 0.0, "", 2, 5)}])
def test_starts_who_is_off_with_the_new_settings(off):
    plan = planned([LabNode("a", settings=("ram=1G",))], [replace(RUNS, **off)])
    assert actions(plan) == [(CHANGE, "a", False, True, False)]
    assert (plan.after[0].power, plan.after[0].config.ram_bytes) == ("on", 2**30)


def test_order_is_what_goes_what_changes_what_comes():
    plan = planned([LabNode("new"), LabNode("a")], [replace(RUNS, lab=""), replace(RUNS, id=9, name="old")])
    assert actions(plan) == [
        (REMOVE, "old", False, False, False),
        (CHANGE, "a", False, False, True),
        (CREATE, "new", False, False, False),
    ]
    assert [node.lab for node in plan.after[1:]] == ["demo", "demo"] and not plan.after[0].is_present


def test_what_a_host_could_never_hold_is_a_fault():
    (fault,) = planned([LabNode("a", settings=("ram=8G",))]).faults
    assert fault.path == ("nodes", "a", "ram") and "could ever hold" in fault.sentence


def test_images_and_labs_have_a_limit():
    with pytest.raises(InvalidRequest, match="51 images are too many; allowed: at most 50"):
        lab_plan.images_of(LabDocument("d", tuple(LabNode("a", f"i{number}") for number in range(MAX_IMAGES + 1))))
    names = [f"lab{number}" for number in range(LABS_OF_ONE)]
    lab_plan.check_number(names, "lab7")
    with pytest.raises(Conflict, match="100 labs are yours; allowed: at most 100"):
        lab_plan.check_number(names, "one-more")
