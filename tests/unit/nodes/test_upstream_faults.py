"""Faults of the original that concern the registry (its behaviour map, section 10), each by its number. Those that
need the service are in tests/service/nodes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.nodes.domain import creation, data_loss, model, settings_request
from services.nodes.domain.data_loss import MustInspect
from services.nodes.domain.model import Node, RequestContext, Status
from tests.unit.nodes.sample import ALICE, new_nodes
from walt.contracts.disks import EXT4
from walt.contracts.errors import Conflict, InvalidRequest
from walt.contracts.nodes import Disk
from walt.contracts.settings import NodeConfig, parse_settings
from walt.contracts.vmrunner import BOOTED, DELAYING, STOPPED, Capacity, VmReport

DISKS = (Disk(1, 10**9, "none"), Disk(2, 32 * 10**9, EXT4))
CONFIG = NodeConfig(**parse_settings(["disks=1G,32G[template=ext4]"]))
NODE = Node("n", "h", "alice", "default", "10.0.0.2", CONFIG, Status(BOOTED, 0.0, "", 2, 5), id=1, boot=2, disks=DISKS)
LIMITS = {"h": Capacity(cpu_cores=2, ram_bytes=4 * 2**30, memory_factor=1.0)}


def create(name, *texts, capacities=LIMITS):
    return new_nodes(creation.parse([name], texts, capacities))[0]


def report(state, boot, sequence):
    return VmReport(1, "n", "h", boot, 1, sequence, state, 9.0, "why")


def test_fault_02_stop_holds_until_the_host_says_so():
    off = model.stopped(NODE, ALICE, hard=False)
    assert off.status.state == BOOTED and (off.power, off.boot, off.version) == ("off", 3, 2)
    assert model.reported(off, report(BOOTED, boot=2, sequence=99)) is off
    assert model.reported(off, report(STOPPED, boot=2, sequence=99)) is off
    end = model.reported(off, report(STOPPED, boot=3, sequence=100))
    assert end.status.state == STOPPED
    assert model.stopped(end, ALICE, hard=True) is end


def test_fault_02_start_sees_nothing_of_the_former_boot():
    off = model.stopped(NODE, ALICE, hard=True)
    on = model.started(off, ALICE)  # before the end was reported
    assert (on.power, on.boot, on.status.state, on.hard) == ("on", 4, DELAYING, False)
    for late in (report(BOOTED, 2, 99), report(STOPPED, 3, 100)):
        assert model.reported(on, late) is on
    assert model.started(on, ALICE) is on


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("none", ["vda (1G)", "vdb (32G[template=ext4])"]),
        ("1G", ["vdb (32G[template=ext4])"]),
        ("32G[template=ext4]", ["vda (1G)"]),
        ("1G,31G[template=ext4]", ["vdb (32G[template=ext4])"]),
        ("1G,32G", ["vdb (32G[template=ext4])"]),
        ("2G,1G,1T[template=ext4]", []),
    ],
)
def test_fault_10_what_a_configuration_destroys(text, lost):
    (config,) = settings_request.new_configs([NODE], settings_request.parse([f"disks={text}"]), {})
    assert what_is_lost(model.configured(NODE, config)) == lost


def what_is_lost(after, context=ALICE):
    try:
        data_loss.check(context, [NODE], [after])
    except MustInspect as must_inspect:
        return [volume.label for volume in must_inspect.volumes]
    return []


def test_fault_10_what_was_looked_into_or_forced_may_go():
    gone = model.removed(NODE)
    with pytest.raises(MustInspect) as must_inspect:
        data_loss.check(ALICE, [NODE], [gone])
    assert [volume.label for volume in must_inspect.value.volumes] == [
        "vda (1G)",
        "vdb (32G[template=ext4])",
        "/persist",
    ]
    found = tuple(must_inspect.value.volumes)
    assert what_is_lost(gone, RequestContext("alice", 1.0, known_empty=found)) == []
    assert what_is_lost(gone, RequestContext("alice", 1.0, known_empty=found[1:])) == ["vda (1G)"]
    assert what_is_lost(gone, RequestContext("alice", 1.0, force=True)) == []
    free = model.released(NODE, ALICE)
    data_loss.check(ALICE, [free], [model.removed(free)])  # it was emptied when it became free


def test_fault_11_every_change_of_owner_means_other_disks():
    for after in (model.released(NODE, ALICE), model.acquired(NODE, RequestContext("bob", 1.0))):
        assert [disk.id for disk in after.disks] == [0, 0]
        assert after.hard  # the next owner has its console while it ends
        assert [(one.size_bytes, one.template) for one in after.disks] == [
            (one.size_bytes, one.template) for one in DISKS
        ]


def test_fault_12_all_faults_of_all_nodes_and_none_is_changed():
    slow = Node(**{**vars(NODE), "name": "slow", "config": NodeConfig(boot_delay_s=100, boot_timeout_s=150)})
    requested = settings_request.parse(["ram=5G", "speed=1", "boot.timeout=90"])
    with pytest.raises(InvalidRequest) as refused:
        settings_request.new_configs([NODE, slow], requested, LIMITS)
    assert [sentence.partition(";")[0] for sentence in refused.value.args] == [
        "'speed' is not a setting",
        "slow: boot.timeout=90 does not exceed boot.delay=100",
        "ram=5G is more than host h could ever hold",
    ]


@given(st.lists(st.text() | st.sampled_from(["ram=", "ram=1G", "boot.delay=190", "boot.timeout=x", "disks=1G,"])))
def test_fault_12_no_text_makes_anything_but_the_documented_refusal(texts):
    try:
        (config,) = settings_request.new_configs([NODE], settings_request.parse(texts), LIMITS)
    except InvalidRequest as refused:
        assert (
            refused.args
            and settings_request.parse(texts).faults == refused.args[: len(settings_request.parse(texts).faults)]
        )
    else:
        assert config == NodeConfig(**{**vars(NODE.config), **settings_request.parse(texts).values})


@pytest.mark.parametrize("word", ["cpu.cores=0", "cpu.cores=256", "ram=0M", "ram=63M", "ram=5G", "disks=0G", "disks=,"])
def test_fault_13_absurd_values_are_refused_when_they_are_asked_for(word):
    with pytest.raises(InvalidRequest):
        settings_request.new_configs([NODE], settings_request.parse([word]), LIMITS)
    with pytest.raises(InvalidRequest):
        create("n", word)


def test_fault_13_too_many_disks_or_networks_are_refused():
    networks = ",".join(["walt-net", *(f"net{number}" for number in range(28))])
    for word in (f"networks={networks}", "disks=" + ",".join(["1G"] * 27)):
        with pytest.raises(InvalidRequest, match="at most"):
            create("n", word)


def test_fault_13_host_that_never_reported_its_capacity_refuses_nothing():
    assert create("n", "ram=5G", capacities={}).config.ram_bytes == 5 * 2**30


def test_fault_14_delay_and_timeout_are_compared_unless_one_is_wrong_itself():
    with pytest.raises(InvalidRequest, match="does not exceed"):
        create("n", "boot.delay=180")
    with pytest.raises(InvalidRequest) as refused:
        create("n", "boot.delay=180", "boot.timeout=59")
    assert len(refused.value.args) == 1 and "'59'" in refused.value.args[0]
    slow = replace(NODE, config=NodeConfig(boot_delay_s=100))
    with pytest.raises(InvalidRequest) as refused:
        settings_request.new_configs([slow], settings_request.parse(["boot.delay=x", "boot.timeout=60"]), {})
    assert len(refused.value.args) == 1 and "'x'" in refused.value.args[0]


@pytest.mark.parametrize("name", ["my-nodes", "FREE-NODES", "all-nodes", "server", "default", "n" * 64, "a.b", "a-"])
def test_fault_32_odd_names(name):
    with pytest.raises(InvalidRequest):
        create(name)


def test_fault_38_taken_name_says_by_whom():
    with pytest.raises(Conflict, match="the name 'n' is taken by a node of alice"):
        creation.check_names_free(["n"], {"n": "alice"})
    with pytest.raises(Conflict, match="by a free node"):
        creation.check_names_free(["m", "n"], {"n": ""})
    creation.check_names_free(["m"], {"n": "alice"})
