"""Which machine may start, with how much memory promised and free."""

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.vmrunner import admission
from services.vmrunner.admission import Enter, HostMemory, Never, Tenant, Wait, admit
from services.vmrunner.memory import Memory, meminfo_bytes
from services.vmrunner.vm import Usage

GIB = 2**30


def host(total=16, available=16.0, factor=1.5):
    return HostMemory("local", total * GIB, int(available * GIB), factor)


def tenants(*rams, resident=None):
    return [Tenant(ram * GIB, ram * GIB if resident is None else int(resident * GIB)) for ram in rams]


@pytest.mark.parametrize(
    ("memory", "inside", "ram", "verdict"),
    [
        (host(), [], 1, Enter()),
        (host(), tenants(12), 12, Enter()),  # over-committed up to the factor
        (
            host(),
            tenants(12, 8),
            8,
            Wait("waits for memory: host local has promised 20.0 of 24.0 GiB, this node wants 8.0"),
        ),
        (host(), tenants(12, 4), 8, Enter()),  # to the last byte of it
        (host(), [], 17, Never("host local has 16.0 GiB of memory, this node wants 17.0")),
        (host(), [], 16, Enter()),
        (host(factor=0.5), [], 9, Never("host local may promise 8.0 GiB, this node wants 9.0")),
        (
            host(factor=0.5),
            tenants(1),
            8,
            Wait("waits for memory: host local has promised 1.0 of 8.0 GiB, this node wants 8.0"),
        ),
        (host(available=1.0), [], 4, Wait("waits for memory: less than 1.3 GiB of host local is free for this node")),
        (host(available=1.3125), [], 4, Enter()),  # a quarter of it, qemu, and the reserve
        (host(available=1.3125), tenants(4), 4, Enter()),  # one that has all it was promised takes no more
        # another of 4 GiB was let in a moment ago and has taken nothing yet
        (
            host(available=2.0),
            tenants(4, resident=0),
            4,
            Wait("waits for memory: less than 1.3 GiB of host local is free for this node"),
        ),
        (host(available=2.0), tenants(4, resident=2), 4, Enter()),
    ],
)
def test_admission(memory, inside, ram, verdict):
    assert admit(memory, inside, ram * GIB) == verdict


@given(st.lists(st.integers(1, 32), max_size=20), st.floats(0.1, 4), st.integers(1, 64))
def test_never_more_is_promised_than_allowed(rams, factor, total):
    memory, inside = host(total, total, factor), []
    for ram in rams:
        if admit(memory, inside, ram * GIB) == Enter():
            inside.append(Tenant(ram * GIB, 0))
    assert sum(one.ram_bytes for one in inside) <= admission.allowed_bytes(memory)


def test_two_that_start_at_once_are_not_both_let_in():
    book = Memory("local", 1.0, lambda field: 10 * GIB)
    verdicts = {}
    threads = [
        threading.Thread(target=lambda node=node: verdicts.update({node: book.ask(node, 6 * GIB)})) for node in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (inside,) = (node for node, verdict in verdicts.items() if verdict == Enter())
    assert book.promised_bytes() == 6 * GIB
    assert book.ask(inside, 6 * GIB) == Enter()  # its own former promise is not in its way
    book.give_back(inside)
    book.give_back(inside)
    assert book.promised_bytes() == 0 and book.ask(1, 6 * GIB) == Enter()


class Running:
    """A machine of which its usage is known, or not."""

    def __init__(self, used=None):
        self.used = used

    def usage(self):
        return self.used


def test_a_machine_found_running_counts():
    book = Memory("local", 1.0, lambda field: 10 * GIB)
    book.occupy(5, 6 * GIB, Running())
    assert isinstance(book.ask(6, 6 * GIB), Wait)


def test_what_a_machine_holds_of_the_host_already_is_not_kept_free_for_it():
    def verdict(vm):
        book = Memory("local", 1.0, {"MemTotal": 16 * GIB, "MemAvailable": 2 * GIB}.__getitem__)
        book.occupy(5, 4 * GIB, vm)
        return book.ask(6, 4 * GIB)

    assert verdict(Running(Usage(0.0, 2 * GIB))) == Enter()
    assert isinstance(verdict(Running(Usage(0.0, 0))), Wait)
    assert isinstance(verdict(Running()), Wait), "of what is not known, nothing is taken to be there"


def test_what_the_kernel_says():
    assert 0 < meminfo_bytes("MemAvailable") < meminfo_bytes("MemTotal")
    assert meminfo_bytes("MemTotal") % os.sysconf("SC_PAGE_SIZE") == 0


def test_capacity_is_the_hosts():
    book = Memory("local", 2.5, {"MemTotal": 10 * GIB, "MemAvailable": GIB}.__getitem__)
    assert (book.capacity().ram_bytes, book.capacity().memory_factor) == (10 * GIB, 2.5)
    assert book.capacity().cpu_cores >= 1
