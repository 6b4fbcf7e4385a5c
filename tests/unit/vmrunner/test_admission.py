"""Which VM may start, with how much memory promised and free."""

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.vmrunner.memory import admission
from services.vmrunner.memory.admission import Admit, HostMemory, Promise, Reject, Wait, admit
from services.vmrunner.memory.host_memory import MemoryLedger, meminfo_bytes
from services.vmrunner.qemu.vm import Usage

GIB = 2**30


def host(total=16, available=16.0, factor=1.5):
    return HostMemory("local", total * GIB, int(available * GIB), factor)


def promises(*rams, resident=None):
    return [Promise(ram * GIB, ram * GIB if resident is None else int(resident * GIB)) for ram in rams]


@pytest.mark.parametrize(
    ("memory", "admitted", "ram", "verdict"),
    [
        (host(), [], 1, Admit()),
        (host(), promises(12), 12, Admit()),  # over-committed up to the factor
        (
            host(),
            promises(12, 8),
            8,
            Wait("waits for memory: host local has promised 20.0 of 24.0 GiB, this node needs 8.0"),
        ),
        (host(), promises(12, 4), 8, Admit()),  # to the last byte of it
        (host(), [], 17, Reject("host local has 16.0 GiB of memory, this node needs 17.0")),
        (host(), [], 16, Admit()),
        (host(factor=0.5), [], 9, Reject("host local may promise 8.0 GiB, this node needs 9.0")),
        (
            host(factor=0.5),
            promises(1),
            8,
            Wait("waits for memory: host local has promised 1.0 of 8.0 GiB, this node needs 8.0"),
        ),
        (host(available=1.0), [], 4, Wait("waits for memory: less than 1.3 GiB of host local is free for this node")),
        (host(available=1.3125), [], 4, Admit()),  # a quarter of it, qemu, and the reserve
        (host(available=1.3125), promises(4), 4, Admit()),  # one that has all it was promised takes no more
        # another of 4 GiB was admitted a moment ago and has taken nothing yet
        (
            host(available=2.0),
            promises(4, resident=0),
            4,
            Wait("waits for memory: less than 1.3 GiB of host local is free for this node"),
        ),
        (host(available=2.0), promises(4, resident=2), 4, Admit()),
    ],
)
def test_admission(memory, admitted, ram, verdict):
    assert admit(memory, admitted, ram * GIB) == verdict


@given(st.lists(st.integers(1, 32), max_size=20), st.floats(0.1, 4), st.integers(1, 64))
def test_never_more_is_promised_than_allowed(rams, factor, total):
    memory, admitted = host(total, total, factor), []
    for ram in rams:
        if admit(memory, admitted, ram * GIB) == Admit():
            admitted.append(Promise(ram * GIB, 0))
    assert sum(one.ram_bytes for one in admitted) <= admission.allowed_bytes(memory)


def test_two_that_start_at_once_are_not_both_admitted():
    ledger = MemoryLedger("local", 1.0, lambda field: 10 * GIB)
    verdicts = {}
    threads = [
        threading.Thread(target=lambda node=node: verdicts.update({node: ledger.request(node, 6 * GIB)}))
        for node in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (inside,) = (node for node, verdict in verdicts.items() if verdict == Admit())
    assert ledger.promised_bytes() == 6 * GIB
    assert ledger.request(inside, 6 * GIB) == Admit()  # its own former promise is not in its way
    ledger.give_back(inside)
    ledger.give_back(inside)
    assert ledger.promised_bytes() == 0 and ledger.request(1, 6 * GIB) == Admit()


class Running:
    """A VM whose usage is known, or not."""

    def __init__(self, used=None):
        self.used = used

    def usage(self):
        return self.used


def test_a_vm_that_is_found_running_counts():
    ledger = MemoryLedger("local", 1.0, lambda field: 10 * GIB)
    ledger.occupy(5, 6 * GIB, Running())
    assert isinstance(ledger.request(6, 6 * GIB), Wait)


def test_memory_that_a_vm_has_taken_already_is_not_kept_free_for_it():
    def verdict(vm):
        ledger = MemoryLedger("local", 1.0, {"MemTotal": 16 * GIB, "MemAvailable": 2 * GIB}.__getitem__)
        ledger.occupy(5, 4 * GIB, vm)
        return ledger.request(6, 4 * GIB)

    assert verdict(Running(Usage(0.0, 2 * GIB))) == Admit()
    assert isinstance(verdict(Running(Usage(0.0, 0))), Wait)
    assert isinstance(verdict(Running()), Wait), "unknown usage counts as none"


def test_fault_s23_vms_are_measured_outside_of_the_turn():
    """However long one takes to measure, others are admitted meanwhile."""
    ledger = MemoryLedger("local", 1.0, lambda field: 10 * GIB)

    class Slow(Running):
        def usage(self):
            ledger.give_back(99)  # takes its turn

    ledger.occupy(5, GIB, Slow())
    verdicts = []
    asking = threading.Thread(target=lambda: verdicts.append(ledger.request(6, GIB)), daemon=True)
    asking.start()
    asking.join(10)
    assert verdicts == [Admit()]


def test_meminfo():
    assert 0 < meminfo_bytes("MemAvailable") < meminfo_bytes("MemTotal")
    assert meminfo_bytes("MemTotal") % os.sysconf("SC_PAGE_SIZE") == 0


def test_capacity_is_the_hosts():
    ledger = MemoryLedger("local", 2.5, {"MemTotal": 10 * GIB, "MemAvailable": GIB}.__getitem__)
    assert (ledger.capacity().ram_bytes, ledger.capacity().memory_factor) == (10 * GIB, 2.5)
    assert ledger.capacity().cpu_cores >= 1
