"""A further host whose agents have an account of their own: what nodes gives them and believes of them."""

from __future__ import annotations

import contextlib

import pytest
from amqp.exceptions import AccessRefused
from kombu import Connection

from services.kit.bus.bus import BrokerBus
from services.nodes.users.rabbitmq_api import ManagementApi
from tests.service.nodes.people import do
from tests.support.fakes.fake_service import serving
from tests.support.fakes.vmrunner import FakeVmrunner
from tests.support.wait import wait_until
from walt.contracts import serialization
from walt.contracts.agent_rights import account_of_host, agent_rights
from walt.contracts.errors import Conflict, Denied, InvalidRequest, NotFound
from walt.contracts.hosts import AGENT_PRESENT, AgentPresent, HostAccess
from walt.contracts.vmrunner import VM_CHANGED, VM_REMOVED, Capacity, VmRemoved, VmReport

SERVER, SECOND = "rightshost", "lab2"
CAPACITY = Capacity(4, 8 * 2**30, 1.5)


@pytest.fixture
def access(service, admin):
    """Of the second host, as an administrator has made it."""
    yield serialization.load(HostAccess, do(admin, "admit_host", name=SECOND))
    with service.app.transaction() as registry:
        for node in registry.nodes():
            registry.delete(node.id)
    with contextlib.suppress(NotFound):
        do(admin, "remove_host", name=SECOND)


@pytest.fixture
def uri(access, broker_port, vhost):
    return f"amqp://{access.account}:{access.password}@127.0.0.1:{broker_port}/{vhost}"


@pytest.fixture
def vmrunner(uri):
    with contextlib.closing(BrokerBus(uri, f"vmrunner@{SECOND}")) as bus:
        yield bus


@pytest.fixture
def bea(admin, login):
    return login("bea", do(admin, "add_user", name="bea")["password"])


@pytest.fixture
def joined(service, amqp_uri, vmrunner):
    """Its vmrunner answers, too."""
    with serving(amqp_uri, FakeVmrunner(SECOND)):
        join(service, vmrunner)
        yield


def join(service, vmrunner):
    vmrunner.announce(AGENT_PRESENT, AgentPresent(SECOND, "vmrunner", "1.0", capacity=CAPACITY))
    wait_until(lambda: SECOND in service.app.hosts.known)


def logs_in(uri):
    try:
        with Connection(uri) as connection:
            connection.connect()
    except AccessRefused:
        return False
    return True


def report_of(node, host, **changes):
    values = {"boot": node.boot, "run": 9, "sequence": 10**6, "state": "booted", "since": 1.0, "reason": ""}
    return VmReport(node_id=node.id, name=node.name, host=host, **{**values, **changes})


def test_it_joins_with_its_own_account(service, admin, access, vmrunner):
    assert (access.account, access.server, access.subnet) == ("walt-host-lab2", SERVER, "192.168.172.0/22")
    join(service, vmrunner)
    assert [one["name"] for one in do(admin, "get_hosts")] == [SERVER, SECOND]
    assert vmrunner.call("nodes", "get_specs", host=SECOND)["nodes"] == []
    assert vmrunner.call("nodes", "get_fabric", host=SECOND)["addresses"]["server"] == SERVER


@pytest.mark.parametrize(
    "method, arguments",
    [
        ("get_specs", {}),
        ("get_specs", {"host": SERVER}),
        ("get_fabric", {"host": SERVER}),
        ("check_history", {"agent": f"vmrunner@{SERVER}", "registry": "", "epoch": "", "sequence": 0}),
    ],
)
def test_its_agents_get_nothing_of_another_host(vmrunner, method, arguments):
    with pytest.raises(Denied, match="allowed to those of 'lab2': what is of their own"):
        vmrunner.call("nodes", method, **arguments)


def test_nothing_is_entered_for_names_that_its_agents_make_up(service, bea, joined, vmrunner):
    do(bea, "create_nodes", names=["here"], host=SECOND)
    asked = {"name": "here", "action": "ping it"}
    with pytest.raises(Denied, match="no account 'made-up'"):
        vmrunner.call("nodes", "authorize", user="made-up", **asked)
    with pytest.raises(Denied, match="'made-up@lab2' is no agent of a host"):
        vmrunner.call("nodes", "check_history", agent=f"made-up@{SECOND}", registry="r", epoch="e", sequence=1)
    with service.app.transaction() as registry:
        assert registry.accounts.present("made-up") is None and not registry.history.disputes()
    assert vmrunner.call("nodes", "authorize", user="bea", **asked)["host"] == SECOND


def test_its_agents_get_the_traces_that_its_links_follow(service, bea, joined, vmrunner):
    ids = []
    for name, host in (("here", SECOND), ("there", SERVER)):
        do(bea, "import_trace", name=name, content={"text": "keep_us loss_ppm\n9 9\n"})
        do(bea, "create_nodes", names=[name], host=host, settings=[f"networks=walt-net[trace={name}]"])
        (spec,) = [one for one in service.app.specs(host).nodes if one.name == name]
        ids.append(spec.interfaces[0].link.up.trace or spec.interfaces[0].link.down.trace)
    assert vmrunner.call("nodes", "get_trace", trace=ids[0])["text"]
    with pytest.raises(NotFound):
        vmrunner.call("nodes", "get_trace", trace=ids[1])


def test_what_it_reports_of_nodes_of_another_host_is_not_believed(service, bea, joined, vmrunner):
    for name, host in (("here", SECOND), ("there", SERVER)):
        do(bea, "create_nodes", names=[name], host=host)
    with service.app.transaction() as registry:
        here, there = registry.named("here"), registry.named("there")
    vmrunner.announce(VM_CHANGED, report_of(there, SECOND))
    vmrunner.announce(VM_CHANGED, report_of(there, SERVER))
    do(bea, "remove_nodes", selection="there", force=True)
    vmrunner.announce(VM_REMOVED, VmRemoved(there.id, there.name, SECOND))
    vmrunner.announce(VM_REMOVED, VmRemoved(there.id, there.name, SERVER))
    vmrunner.announce(VM_CHANGED, report_of(here, SECOND))
    wait_until(lambda: do(bea, "get_nodes", selection="here")[0]["state"] == "booted")
    with service.app.transaction() as registry:
        assert registry.get(there.id).status.state != "booted"


def test_a_new_token_ends_the_one_before(admin, access, uri):
    assert logs_in(uri)
    do(admin, "admit_host", name=SECOND)
    assert not logs_in(uri)


def test_a_removed_host_is_out_whether_its_agents_run_or_not(service, admin, bea, joined, uri, vmrunner):
    do(bea, "create_nodes", names=["one"], host=SECOND)
    with pytest.raises(Conflict, match="has 1 nodes"):
        do(admin, "remove_host", name=SECOND)
    assert logs_in(uri)
    with service.app.transaction() as registry:
        registry.delete(registry.named("one").id)
    do(admin, "remove_host", name=SECOND)
    assert not logs_in(uri) and [one["name"] for one in do(admin, "get_hosts")] == [SERVER]


def test_a_host_that_never_joined_is_removed_with_its_account(admin, access, uri):
    do(admin, "remove_host", name=SECOND)
    assert not logs_in(uri)
    with pytest.raises(NotFound):
        do(admin, "remove_host", name=SECOND)


@pytest.mark.parametrize(
    "name, error", [(SERVER, Conflict), ("Lab2", InvalidRequest), ("a.b", InvalidRequest), ("", InvalidRequest)]
)
def test_what_cannot_be_admitted(service, admin, name, error):
    with pytest.raises(error):
        do(admin, "admit_host", name=name)


def test_its_rights_are_renewed_at_the_next_start(service, access, broker_api, vhost):
    api, account = ManagementApi(broker_api, vhost), account_of_host(SECOND)
    former = agent_rights("lab3")
    api.put_rights(account, former)
    service.app.accounts.renew()
    assert api.rights()[account] == agent_rights(SECOND)
