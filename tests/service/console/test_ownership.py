"""Who sees and drives a line when nodes change hands or are removed."""

import signal
from dataclasses import replace

import pytest

from tests.service.console.world import HOST
from tests.support.wait import wait_until
from walt.contracts import console
from walt.contracts import nodes as contract
from walt.contracts.errors import EXIT_SESSION_LOST, Conflict, Denied, NotFound, NotOwner
from walt.contracts.nodes import NodeRemoved


@pytest.fixture
def announce(nodes, prepare_line, folder):
    """Announce a spec of vnode1; return when console has processed it."""
    prepare_line(2)
    numbers = iter(range(100, 200))

    def announce(**changes):
        nodes.announce(contract.NODE_WANTED, replace(nodes.specs[1], **changes))
        number = next(numbers)  # events come in order: once this is processed, so is the other
        nodes.announce(contract.NODE_WANTED, replace(nodes.specs[2], version=number, owner=f"marker{number}"))
        wait_until(lambda: f"marker{number}" in (folder / "lines/2/line.json").read_text())

    return announce


def test_foreign_users_are_refused(power_on, user, service):
    vm, alice, bob = power_on(), user(), user("bob")
    alice.open("open_line", node="vnode1")
    with pytest.raises(NotOwner, match="'vnode1' belongs to alice"):
        bob.open("open_line", node="vnode1")
    with pytest.raises(NotFound, match="no node 'vnode10'"):
        alice.request("open_line", node="vnode10", queue=alice.queue)
    with pytest.raises(Denied, match="is not yours"):
        alice.request("open_line", node="vnode1", queue=bob.queue)
    for method in ("keep_session", "close_session"):
        with pytest.raises(NotFound, match="is not open"):
            bob.request(method, session=alice.session)
    dropped = service.dropped_messages()
    bob.input_key = alice.input_key  # as if he had learnt it
    bob.send(console.DATA, b"evil\n", session=alice.session)
    alice.send(console.DATA, b"nameless\n", user="")
    bob.send_unreadable()
    wait_until(lambda: service.dropped_messages() == dropped + 3)
    alice.send(console.DATA, b"good\n")
    wait_until(lambda: vm.input)
    assert vm.input == b"good\n"


def test_fault_s32_sessions_of_a_former_account_of_the_same_name_end(power_on, user, nodes, announce):
    power_on()
    nodes.specs[1] = replace(nodes.specs[1], owner_account="alice-1")
    announce(version=2)
    alice = user()
    alice.open("open_line", node="vnode1")
    announce(version=3, owner_account="alice-2")
    alice.wait(lambda: "vnode1 has changed hands" in alice.notices())


def test_sessions_end_when_the_node_changes_hands(power_on, user, service, announce, prepare_line, folder):
    vm, alice = power_on(), user()
    alice.open("open_line", node="vnode1")
    announce(version=2)  # still hers
    wait_until(lambda: alice.send(console.DATA, b"mine\n") or b"mine" in vm.input)
    vm.print(b"Debian of alice\n")
    alice.wait(lambda: b"Debian" in alice.data())
    alice.received.clear()
    announce(version=3, owner="bob")
    assert alice.wait_for_exit() == EXIT_SESSION_LOST
    assert alice.notices() == ["vnode1 has changed hands"]
    dropped = service.dropped_messages()
    alice.send(console.DATA, b"evil\n")
    wait_until(lambda: service.dropped_messages() == dropped + 1)
    prepare_line(owner="bob")
    vm.print(b"secret of bob\n")
    wait_until(lambda: b"secret of bob\n" in (folder / "lines/1/line.log").read_bytes())
    assert not alice.has_session()
    assert (b"evil" in vm.input, b"secret" in alice.data()) == (False, False)


def test_who_was_authorized_before_a_change_of_owner_is_refused(power_on, user, announce, prepare_line, nodes):
    vm, alice = power_on(), user()
    announce(version=3)
    vm.print(b"Debian of alice\n")
    alice.open("open_line", node="vnode1")
    alice.wait(lambda: b"Debian" in alice.data())
    announce(version=4, owner="bob")
    prepare_line(owner="bob")
    vm.print(b"secret of bob\n")
    with pytest.raises(Conflict, match="vnode1 has changed hands just now"):
        alice.open("open_line", node="vnode1", offset=0)
    nodes.specs[1] = replace(nodes.specs[1], version=5)  # hers again, which console has not been told yet
    alice.received.clear()
    alice.open("open_line", node="vnode1", offset=0)
    announce(version=4, owner="bob")  # late
    alice.wait(lambda: b"secret of bob" in alice.data())
    assert b"Debian" not in alice.data()
    assert "are no longer kept" in alice.notices()[-1]
    assert alice.has_session()


def test_a_vm_of_a_former_owner_is_neither_seen_nor_driven(power_on, user, announce, prepare_line, nodes):
    vm, alice = power_on(), user()
    prepare_line(owner="bob")
    vm.print(b"secret of bob\n")
    announce(version=10)
    nodes.specs[1] = replace(nodes.specs[1], version=10)
    alice.open("open_line", node="vnode1", offset=0)
    alice.send(console.DATA, b"cat /persist/*\n")
    vm.print(b"more of bob\n")
    alice.wait(lambda: "no VM of vnode1 takes input now: it was dropped" in alice.notices())
    prepare_line(owner="alice")
    vm.print(b"hers\n")
    alice.wait(lambda: b"hers" in alice.data())
    alice.send(console.DATA, b"mine\n")
    wait_until(lambda: b"mine" in vm.input)
    assert (b"persist" in vm.input, b"of bob" in alice.data()) == (False, False)


def test_a_removed_node_ends_viewers_and_leaves_no_file(power_on, user, nodes, folder):
    power_on()
    viewer = user()
    viewer.open("open_line", node="vnode1")
    nodes.remove(1)
    assert viewer.wait_for_exit() == EXIT_SESSION_LOST
    assert viewer.notices() == ["vnode1 is removed"]
    wait_until(lambda: not (folder / "lines" / "1").exists())


def test_removal_by_another_registry_leaves_the_line(service, nodes, prepare_line, folder):
    prepare_line(78)
    wait_until((folder / "lines" / "registry").exists)
    nodes.announce(contract.NODE_REMOVED, NodeRemoved(78, "vnode78", HOST, "r0"))
    wait_until(lambda: "the removal of vnode78 is ignored: " in service.log.read_text())
    assert (folder / "lines" / "78" / "line.sock").exists()


def test_a_spec_of_another_registry_takes_nothing_over(user, service, nodes, prepare_line):
    prepare_line()
    viewer = user()
    viewer.open("open_line", node="vnode1")
    other = replace(nodes.specs[1], owner="bob", version=5, registry="r0")
    nodes.announce(contract.NODE_WANTED, other)
    wait_until(lambda: "the spec of vnode1 is ignored: " in service.log.read_text())
    assert viewer.has_session()


def test_the_line_of_a_node_that_was_removed_meanwhile_is_removed_at_start(service, prepare_line, folder):
    for number in (1, 77):
        prepare_line(number)
    service.end(signal.SIGKILL)
    service.start()
    wait_until(lambda: not (folder / "lines" / "77").exists())
    assert (folder / "lines" / "1" / "line.sock").exists()
